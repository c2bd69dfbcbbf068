"""Benchmarks of statews side by side with named peers, all in one run.

What is measured is the CPU time, user and system, of the *client's* process per message; the
server is a process of its own that does as little as it can. A benchmark prints numbers and says
which bars are met; it never fails because of a number.

* ``python -m benchmarks`` measures with the interpreter that runs it; ``--help`` tells more.
* ``python -m benchmarks.environment`` does so in an environment with the peers, on an optimised
  interpreter where there is one.

``scenarios.py`` declares what is measured, and the bars; ``clients/`` has one module a library;
``measure.py`` runs one case in one fresh process against ``server.py``; ``report.py`` prints.
"""
