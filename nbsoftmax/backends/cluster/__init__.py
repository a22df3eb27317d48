"""Rows on the workers of a Dask cluster.

A part is the result of a task of the cluster. If its worker is lost, the scheduler runs that task again elsewhere, with
all tasks that it needs: the client never sends data. For each sum, the client sends `params` to the workers, which
return a result for each part that they hold. Where that fails, and for large results, tasks of the scheduler compute
the sums. The results for the parts are added by a binary tree over the parts, whoever adds them:

    ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)

Where and when a part was summed has therefore no effect on the bits. The client adds small results, the workers large
ones.
"""
