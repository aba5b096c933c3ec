"""
What the demo and the tests need around the shop, and no program of yours does.

General layout:
  processes    a program in a process group of its own, ended whatever happens; bounded waits
  page         one scrape of /metrics, read and compared with what is true
  load         requests at a steady pace, and the truth about what they must have counted
  server       gunicorn with the shop
  prometheus   a Prometheus that scrapes the shop
"""
