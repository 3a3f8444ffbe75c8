"""Grading submissions whose authors may want to cheat.

The verdict is found in a process in which no line of a submission ever runs. The learner's cells run in a kernel of
their own, between the given cells of the pristine notebook, in a scratch folder; the check cells do not run there at
all. Then each check runs here, on inputs drawn anew, and asks the kernel for one call at a time; what comes back is
plain data. So a submission may replace torch, print, the checks or the whole library in its kernel: all it can do is
to return numbers, and they have to be right.

This is no sandbox: a submission runs with the rights of whoever grades. Strangers' notebooks belong in a container.
"""
