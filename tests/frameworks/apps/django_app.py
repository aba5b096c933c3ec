"""django-prometheus, as its README has it, in one file."""

import own
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django_prometheus"],
    MIDDLEWARE=[
        "django_prometheus.middleware.PrometheusBeforeMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django_prometheus.middleware.PrometheusAfterMiddleware",
    ],
)


def work(request):
    own.work()
    return HttpResponse("ok")


urlpatterns = [path("work", work, name="work"), path("", include("django_prometheus.urls"))]
app = get_wsgi_application()
