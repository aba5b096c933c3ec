"""dramatiq's own middleware, as its documentation has it; the broker is Redis."""

import os

import dramatiq
import own
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.prometheus import Prometheus

broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(Prometheus())
dramatiq.set_broker(broker)


@dramatiq.actor
def work():
    own.work()
