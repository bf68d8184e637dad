"""The opponents, each in its own idiom. They run in a virtual environment of their own and import nothing of ours."""

#: What drt-core 1.2 lacks for the job, read in its REST destination.
WHY_NOT_DRT = "not measured: cannot sign requests (SigV4), and takes any 2xx for delivered without reading the answer"
