"""Grading submissions whose authors may want to cheat.

The verdict is reached in a process in which no line of a submission ever runs. The learner's cells run in a kernel of
their own, between the given cells of the pristine notebook, in a scratch folder; the check cells do not run there at
all. Then each check runs here, on freshly drawn inputs, and asks the kernel for one call at a time; the kernel returns
plain data. So a submission may replace torch, print, the checks or the whole library in its kernel: all it can do is
return numbers, and they have to be right.

``originals`` keeps what is graded by, ``isolation`` decides where the kernel runs and says what that does not hold,
``keeper`` stands between grader and kernel, and grades are written after every submission.
"""
