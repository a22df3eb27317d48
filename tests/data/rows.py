"""Rows and their files, for tests of sources."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

M, N = 1000, 5
NAMES = tuple(f"f{j}" for j in range(N))
rng = np.random.default_rng(7)
X = rng.normal(size=(M, N)).astype(np.float32)
Y = np.array(["ant", "bee", "cat"])[np.argmax(X @ rng.normal(size=(N, 3)) + rng.gumbel(size=(M, 3)), axis=1)]
W = rng.uniform(0.5, 2.0, M)


def table(X=X, y=Y, w=W):
    return pa.table({**dict(zip(NAMES, X.T.copy(), strict=True)), "label": y, "weight": w})


def lists(X=X, y=Y, w=W):
    return pa.table({"X": pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), N), "label": y, "weight": w})


def write(path, of=None, *, batch=170):
    """Write the rows to a file of the format of its name, in batches of 170 rows, which divide no block."""
    of = table() if of is None else of
    kind = path.suffix
    if kind == ".parquet":
        pa.parquet.write_table(of, path, row_group_size=batch)
    elif kind == ".feather":
        pa.feather.write_feather(of, path, chunksize=batch)
    elif kind == ".arrow":
        with pa.ipc.new_file(path, of.schema) as file:
            file.write_table(of, max_chunksize=batch)
    else:
        options = pa.csv.WriteOptions(delimiter="\t" if ".tsv" in path.name else ",")
        with pa.output_stream(path) as file:  # compressed as the name ends
            pa.csv.write_csv(of, file, options)
    return path


def together(source, dtype=None):
    """X, labels and weights of all blocks of a source, joined, and the numbers of rows of the blocks."""
    found = list(source.blocks(dtype))
    y, weights = (None if found[0][i] is None else [np.asarray(each[i]) for each in found] for i in (1, 2))
    rows = [len(block.X) for block in found]
    return (
        np.concatenate([block.X for block in found]),
        None if y is None else np.concatenate(y),
        None if weights is None else np.concatenate(weights),
        rows,
    )
