"""Benchmarks. They print results; tests never assert a time.

python -m perf rows|objective|epochs|scaling|coldstart|profile SHAPE|all [--quick] [--json F] [--plot F] [--markdown F]
python -m perf fit [--problem NAME ...] [--cap S] and the same options; "all" excludes it, because it takes an hour
"""
