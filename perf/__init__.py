"""Benchmarks. They print results; tests never assert a time.

python -m perf rows|objective|sparse|epochs|scaling|coldstart|profile SHAPE|results|all [options]
    --quick  --json F  --plot F  --markdown F  --vectors BITS ...
python -m perf fit [--problem NAME ...] [--cap S] [options]

"results" is what perf/RESULTS.md shows: rows and objective. "all" excludes fits, because they take an hour.
"""
