"""Measurements. They print what they find; tests never assert a time.

python -m perf rows|objective|scaling|coldstart|profile SHAPE|all [--quick] [--json F] [--plot F] [--markdown F]
python -m perf fit [--problem NAME ...] [--cap S] and the same; "all" leaves it out, for it takes an hour
"""
