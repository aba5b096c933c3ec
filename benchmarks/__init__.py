"""What mpmetrics costs, beside prometheus_client, on this machine, in one run.

`python -m benchmarks` prints the machine and the tables; README.md says how to read them.

General layout:
    contenders              the libraries, each with its environment and how it is scraped
    child                   one measurement in one fresh interpreter
    crew                    forked workers on a barrier, every wait bounded
    update, series, scrape, memory      one concern each: `measure` runs in the child,
                                        `rows` in the parent
    table, machine, settings            what is printed, where it ran, how much is measured
    instructions            a command of its own: instructions a call, counted by valgrind
"""
