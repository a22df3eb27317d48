"""Fused kernels of a linear model: loss, gradient and Hessian-vector product, summed over the rows of X.

    Z = X W^T + b,    L = sum_i L_i(z_i),    dL/dW = D^T X,    D = dL/dZ
    Hessian . V = E^T X,    E_i = h_i a_i * (u_i - a_i . u_i),    U = X V^T + v_b

Here a_i = softmax(z_i), h_i is the weight of sample i, and u_i and v_b are the row of U and the intercepts of V.

Each chunk processes its rows in blocks that fit in cache, so that X is read from memory once for both products, and
only one block of logits exists at a time. Within a block products are in the dtype of X; every block adds to the
gradient of its chunk in float64, and the caller adds the chunks in order.
"""

from collections import namedtuple

from nbsoftmax.kernels.lang.logit_tiles import add_rows, row_products
from nbsoftmax.kernels.lang.simd import VECTOR_BYTES, element, filled, lanes, load, load_part, store, sum_of
from nbsoftmax.kernels.lang.tiles import DOT_CLASSES, MANY_REGISTERS, MOST_ROWS, backward, dots, forward, panel_of
from nbsoftmax.kernels.lang.transpose import columns_to_rows
from nbsoftmax.kernels.logit import logit_cross_entropy, logit_curvature
from nbsoftmax.kernels.partial import PartialTarget, partial_tiles, partial_wide
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.rows import (
    FORGET,
    KEPT,
    MOST_CLASSES_IN_TILE,
    chunk_bounds,
    cross_entropy_tiles,
    cross_entropy_wide,
    curvature_tiles,
    curvature_wide,
    softmax_tiles,
    softmax_wide,
)
from nbsoftmax.kernels.runtime.blas import add_product
from nbsoftmax.kernels.runtime.jit import by_type, jit, part
from nbsoftmax.kernels.runtime.threads import take

# The samples: x is flat from the first element on, strides are in elements; `offset` (m * K,) is added to the logits,
# unless it is empty.
Rows = namedtuple("Rows", "x row_stride column_stride n_rows n_features offset")
# Some samples with contiguous features: row r begins at x[at + r * stride]. `ahead` is the prefetch distance in
# elements while the logits are computed; 0 for no prefetching. While the gradient is computed, the samples of the next
# block are prefetched, whose row r begins at following[next_at + r * next_stride].
Block = namedtuple("Block", "x at stride n_rows n_features ahead following next_at next_stride")

# How a block is multiplied: register tiles with classes in lanes, with features in lanes, or BLAS. Layout of `w`:
# for TILES as in `tiles.forward`, for DOTS as in `tiles.dots`, for BLAS (n_features + 1, stride), the bias in the last
# row. See `place_of_class`. With LOGIT there are two classes, and only the difference of their logits is computed: w,
# laid out as for DOTS, the logits, the offset and the gradient are those of class 1 less those of class 0, a single
# column, so that `n_classes` and `stride` are 1.
TILES, DOTS, BLAS, LOGIT = 0, 1, 2, 3

# The parameters, in the dtype of X and in the layout of `form`; rows of logits are `stride` numbers apart. There is a
# class for each form, with few and with many classes, so that a kernel is compiled only for the one in use. Code that
# users compile knows the form only at run time: it uses `Weights` itself, with register tiles.
Weights = namedtuple("Weights", "w stride n_classes form")
FewTiles, ManyTiles, FewDots, ManyDots, FewBlas, ManyBlas = (
    namedtuple(name, Weights._fields, module=__name__)
    for name in ("FewTiles", "ManyTiles", "FewDots", "ManyDots", "FewBlas", "ManyBlas")
)
OneLogit = namedtuple("OneLogit", Weights._fields)
_FEW, _MANY = (FewTiles, FewDots, FewBlas, OneLogit), (ManyTiles, ManyDots, ManyBlas)


def weights_of(w, stride, n_classes, form):
    """The parameters as kernels take them."""
    return (_FEW if n_classes <= MOST_CLASSES_IN_TILE else _MANY)[form](w, stride, n_classes, form)


_COMPILED = "this function works in compiled code only"
# Time of the multiply-adds of dot products relative to those of forward tiles. DOT_COST_BEYOND times as much if each
# tile reads its parameters from the second-level cache: if the classes need several tiles, and the parameters take more
# than DOT_BYTES, which a first-level cache holds.
DOT_COST, DOT_COST_BEYOND, DOT_BYTES = 1.0 if MANY_REGISTERS else 1.3, 1.6, 1 << 15
# What the horizontal sum of one dot product costs, in steps of its tile: measured where both forms take as long.
DOT_SUM = 12

# Bytes of X and of logits in a block: half of the smallest second-level cache in use.
BLOCK_BYTES = 1 << 18
# Each block reads the weights, and reads and writes the gradient, which takes a large share of the time of few rows.
# Blocks of fewer rows may therefore have more bytes where second-level caches are large, as those of CPUs with many
# registers: 64 rows of 512 features take 7% less time than 32 with 100 classes, as do 32 rows of 1000 instead of 16.
FEW_ROWS, MOST_BLOCK_BYTES = 64, 1 << (19 if MANY_REGISTERS else 18)
# Bytes of logits in a block for BLAS, which is faster with more rows at a time.
BLAS_BLOCK_BYTES = 1 << 21
# Prefetch distance of the logits, a few hundred nanoseconds of reading. The gradient prefetches the next block.
PREFETCH_BYTES = 1 << 14
# Longer rows are not prefetched by the gradient in front of forward tiles, which read such rows from memory as fast as
# one core can: without prefetching, 784 features and 10 classes take 5 to 15% less time. (Dot products take 5% more.)
LONG_ROW_BYTES = 5 << 9
# A first-level cache has few places for addresses that differ by multiples of 4 KB. With few registers, which hold less
# of a block, rows at a distance of a multiple of so many bytes are copied to a larger distance: up to 35% faster.
# With 32 registers the copy would take longer than it saves.
CROWDED_BYTES = 1 << 11


def has_few_classes(weights):
    """Whether parameters of this Numba type are of classes that fit in a tile."""
    return weights.instance_class in _FEW


def _known(weights):
    return weights.instance_class is not Weights


def _form(weights):
    return (_FEW if has_few_classes(weights) else _MANY).index(weights.instance_class)


def _one_logit(weights):
    return weights.instance_class is OneLogit


@part
def tiled_form(n_features, n_classes, width):
    """TILES or DOTS: whichever takes fewer vector operations for a row."""
    by_classes = (n_classes + width - 1) // width * n_features
    n_vectors, cost = (n_features + width - 1) // width, DOT_COST
    if n_classes > DOT_CLASSES and n_classes * n_vectors * VECTOR_BYTES > DOT_BYTES:
        cost *= DOT_COST_BEYOND
    by_features = n_classes * (n_vectors * cost + DOT_SUM)
    return DOTS if by_features < by_classes else TILES


@part
def place_of_class(weights, n_features, k):
    """Return where `w` holds class k: the index of its first coefficient, their distance, and the index of its bias."""
    stride, width = weights.stride, lanes(weights.w)
    if weights.form in (DOTS, LOGIT):
        length = (n_features + width - 1) // width * width
        return k * length, 1, weights.n_classes * length + k
    first, side = (0, stride) if weights.form == BLAS else panel_of(k, stride, width)
    at = first * (n_features + 1) + k - first
    return at, side, at + n_features * side


@part
def block_rows(rows, weights, n_logits):
    """Number of rows in a block with `n_logits` numbers for each class: 16, or a multiple of 32 (full tiles).

    With LOGIT at least 32, the longest vectors of a tile.
    """
    size, itemsize = n_logits * weights.stride, rows.x.itemsize
    if weights.form == BLAS:
        return min(512, max(64, BLAS_BLOCK_BYTES // (size * itemsize) // 32 * 32))
    row_bytes = (rows.n_features + size) * itemsize
    n_rows = max(BLOCK_BYTES // row_bytes, min(FEW_ROWS, MOST_BLOCK_BYTES // row_bytes))
    return min(256, max(32 if weights.form == LOGIT else 16, n_rows // 32 * 32))


@part
def prefetch_distance(rows):
    """`PREFETCH_BYTES` in elements of x, rounded up to whole tiles of rows."""
    return (PREFETCH_BYTES // (rows.n_features * rows.x.itemsize * MOST_ROWS) + 1) * MOST_ROWS * rows.row_stride


@part
def shared_scratch(rows, size, weights):
    """Allocate memory for the logits and the packed samples of a block."""
    return aligned((size + MOST_ROWS) * weights.stride, rows.x), pack_scratch(rows, size, weights)


@part
def pack_scratch(rows, size, weights):
    """Allocate memory for the packed samples of a block, where `block_of` copies them."""
    return aligned(1 if side_by_side(rows, weights) else size * pack_stride(rows), rows.x)


@part
def scratch(rows, size, weights):
    """Allocate memory for a block: logits, packed samples, two tiles, and the float32 products of BLAS."""
    n_classes = weights.n_classes
    z, pack = shared_scratch(rows, size, weights)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    other = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    narrow = aligned(n_classes * rows.n_features if weights.form == BLAS and rows.x.itemsize == 4 else 1, rows.x)
    return z, pack, tile, other, narrow


@part
def side_by_side(rows, weights):
    """Whether blocks of X need no copy: contiguous features, and rows that are not crowded in the cache.

    For BLAS, which copies by itself, rows that do not overlap or run backwards.
    """
    if weights.form == BLAS:
        return rows.column_stride == 1 and rows.row_stride >= rows.n_features
    return rows.column_stride == 1 and not crowded(rows.row_stride, rows.x.itemsize)


@part
def crowded(stride, itemsize):
    """Whether rows at this distance in elements share few places of the first-level cache."""
    return not MANY_REGISTERS and stride * itemsize % CROWDED_BYTES == 0


@part
def pack_stride(rows):
    """Distance of packed rows."""
    n, itemsize = rows.n_features, rows.x.itemsize
    return n + 64 // itemsize if crowded(n, itemsize) else n


@part
def whole_vectors(n, like):
    """Distance of rows of n numbers in whole vectors; a vector more if the rows would be crowded."""
    width = lanes(like)
    stride = (n + width - 1) // width * width
    # Python calls this function by `py_func`, and therefore it cannot call `crowded`.
    return stride if MANY_REGISTERS or stride * like.itemsize % CROWDED_BYTES else stride + width


@part
def block_of(rows, weights, start, n, pack):
    """Return the n samples from `start` on as a block, copied to `pack` unless they are `side_by_side`."""
    n_features = rows.n_features
    if side_by_side(rows, weights):
        ahead, at = prefetch_distance(rows), start * rows.row_stride
        if weights.form != DOTS and n_features * rows.x.itemsize > LONG_ROW_BYTES:
            return Block(rows.x, at, rows.row_stride, n, n_features, ahead, rows.x, at, 0)
        following = at + n * rows.row_stride
        return Block(rows.x, at, rows.row_stride, n, n_features, ahead, rows.x, following, rows.row_stride)
    side = pack_stride(rows)
    if rows.column_stride == 1:
        for r in range(n):
            copy_row(rows.x, (start + r) * rows.row_stride, n_features, pack, r * side)
        return Block(pack, 0, side, n, n_features, 0, rows.x, (start + n) * rows.row_stride, rows.row_stride)
    copy_columns(rows, start, n, pack, 0, side)
    return Block(pack, 0, side, n, n_features, 0, pack, 0, side)


@part
def copy_columns(rows, start, n, pack, to, side):
    """Copy n samples whose features are not contiguous to rows of `pack`, `side` elements apart, from `to` on."""
    x, n_features, width = rows.x, rows.n_features, lanes(rows.x)
    if rows.row_stride != 1 or n < width:
        for j in range(n_features):
            for r in range(n):
                pack[to + r * side + j] = element(x, (start + r) * rows.row_stride + j * rows.column_stride)
        return
    few = min(n_features, width)
    for j in range(0, n_features, width):
        first = min(j, n_features - few)  # the last square overlaps the one before, and so do its rows
        for r in range(0, n, width):
            row = min(r, n - width)
            at = start + row + first * rows.column_stride
            columns_to_rows(x, at, rows.column_stride, few, pack, to + row * side + first, side, n)


@part
def copy_row(x, at, n, pack, to):
    """Copy n elements of x, from element `at` on."""
    whole = n // lanes(x) * lanes(x)
    for j in range(0, whole, lanes(x)):
        store(pack, to + j, load(x, at + j))
    for j in range(whole, n):
        pack[to + j] = element(x, at + j)


def logits_of(block, weights, first, last, z, z_stride):
    """Compute the logits of a block, without offset, for the classes first to last - 1; class `first` is at z[0].

    Only BLAS supports a part of the classes.
    """
    raise NotImplementedError(_COMPILED)


@by_type(logits_of)
def _logits_of(block, weights, first, last, z, z_stride):
    def by_tiles(block, weights, first, last, z, z_stride):
        x, at, stride, n, n_features, ahead, _, _, _ = block
        forward(x, at, stride, n, n_features, weights.w, weights.stride, z, z_stride, ahead)

    def by_dots(block, weights, first, last, z, z_stride):
        x, at, stride, n, n_features, ahead, _, _, _ = block
        dots(x, at, stride, n, n_features, weights.w, weights.n_classes, z, z_stride, ahead)

    def by_blas(block, weights, first, last, z, z_stride):
        x, at, stride, n, n_features, _, _, _, _ = block
        w, w_stride = weights.w, weights.stride
        bias = n_features * w_stride
        for r in range(n):
            for k in range(last - first):
                z[r * z_stride + k] = w[bias + first + k]
        add_product(False, False, last - first, n, n_features, w, first, w_stride, x, at, stride, z, 0, z_stride)

    def by_rows(block, weights, first, last, z, z_stride):
        x, at, stride, n, n_features, ahead, _, _, _ = block
        row_products(x, at, stride, n, n_features, weights.w, z, ahead)

    def by_form(block, weights, first, last, z, z_stride):
        x, at, stride, n, n_features, ahead, _, _, _ = block
        if weights.form == LOGIT:
            row_products(x, at, stride, n, n_features, weights.w, z, ahead)
        elif weights.form == DOTS:
            dots(x, at, stride, n, n_features, weights.w, weights.n_classes, z, z_stride, ahead)
        else:
            forward(x, at, stride, n, n_features, weights.w, weights.stride, z, z_stride, ahead)

    return (by_tiles, by_dots, by_blas, by_rows)[_form(weights)] if _known(weights) else by_form


@part
def add_offset(rows, start, n, n_classes, z, z_stride):
    """Add the offset to the logits of a block."""
    if rows.offset.size > 0:
        for r in range(n):
            for k in range(n_classes):
                z[r * z_stride + k] += rows.offset[(start + r) * n_classes + k]


def add_features(block, weights, d, d_stride, first, last, narrow, g, gi):
    """Add sum_r d[r, k] x[r, :] over a block to g[k, :]: see `add_gradient`."""
    raise NotImplementedError(_COMPILED)


@by_type(add_features)
def _add_features(block, weights, d, d_stride, first, last, narrow, g, gi):
    def by_tiles(block, weights, d, d_stride, first, last, narrow, g, gi):
        x, at, stride, n, n_features, _, f, fi, f_stride = block
        backward(x, at, stride, n, n_features, d, 0, d_stride, last, g, gi, n_features + 1, f, fi, f_stride, False)

    def by_blas(block, weights, d, d_stride, first, last, narrow, g, gi):
        x, at, stride, n, n_features, _, _, _, _ = block
        g_stride = n_features + 1
        to, few = gi + first * g_stride, last - first
        if x.itemsize == 8:
            add_product(False, True, n_features, few, n, x, at, stride, d, first, d_stride, g, to, g_stride)
        else:  # products in float32, sums of blocks in float64
            narrow[: few * n_features] = 0
            add_product(False, True, n_features, few, n, x, at, stride, d, first, d_stride, narrow, 0, n_features)
            for k in range(few):
                for j in range(n_features):
                    g[to + k * g_stride + j] += narrow[k * n_features + j]

    def by_rows(block, weights, d, d_stride, first, last, narrow, g, gi):
        x, at, stride, n, n_features, _, f, fi, f_stride = block
        add_rows(x, at, stride, n, n_features, d, g, gi, f, fi, f_stride)

    def by_form(block, weights, d, d_stride, first, last, narrow, g, gi):
        x, at, stride, n, n_features, _, f, fi, f_stride = block
        if weights.form == LOGIT:
            add_rows(x, at, stride, n, n_features, d, g, gi, f, fi, f_stride)
        else:
            backward(x, at, stride, n, n_features, d, 0, d_stride, last, g, gi, n_features + 1, f, fi, f_stride, False)

    return (by_tiles, by_tiles, by_blas, by_rows)[_form(weights)] if _known(weights) else by_form


@part
def add_gradient(block, weights, d, d_stride, first, last, fit_intercept, buffer, narrow, g, gi):
    """Add sum_r d[r, k] (x[r, :], 1) over a block to g[k, :], for the classes first to last - 1.

    g, (K, N + 1), begins at index gi.
    """
    add_features(block, weights, d, d_stride, first, last, narrow, g, gi)
    n, g_stride = block.n_rows, block.n_features + 1
    n_features = block.n_features
    if fit_intercept and weights.form == LOGIT:
        total = filled(d, 0)
        for r in range(0, n, lanes(d)):
            total += load_part(d, r, n - r, 0.0)
        g[gi + n_features] += sum_of(total)
    elif fit_intercept:
        for k in range(first, last, lanes(d)):
            total = filled(d, 0)
            for r in range(n):
                total += load(d, r * d_stride + k)
            store(buffer, 0, total)
            for lane in range(min(lanes(d), last - k)):
                g[gi + (k + lane) * g_stride + n_features] += buffer[lane]


def softmax_of(weights, z, n):
    """Replace the logits of n rows by their softmax: see `rows.softmax_rows`."""
    raise NotImplementedError(_COMPILED)


@by_type(softmax_of)
def _softmax_of(weights, z, n):
    rows = softmax_tiles if has_few_classes(weights) else softmax_wide

    def chosen(weights, z, n):
        rows(z, 0, weights.stride, n, weights.n_classes, z, 0, weights.stride)

    def either(weights, z, n):
        if weights.n_classes <= MOST_CLASSES_IN_TILE:
            softmax_tiles(z, 0, weights.stride, n, weights.n_classes, z, 0, weights.stride)
        else:
            softmax_wide(z, 0, weights.stride, n, weights.n_classes, z, 0, weights.stride)

    return chosen if _known(weights) else either


def cross_entropy_of(weights, z, n, first, target, scale, want_grad, tile, proba_tile):
    """Sum of the losses of n rows; replace their logits by the gradient: see `rows.cross_entropy_rows`.

    For partial labels, see `partial`.
    """
    raise NotImplementedError(_COMPILED)


@by_type(cross_entropy_of)
def _cross_entropy_of(weights, z, n, first, target, scale, want_grad, tile, proba_tile):
    rows = cross_entropy_tiles if has_few_classes(weights) else cross_entropy_wide
    partial_rows = partial_tiles if has_few_classes(weights) else partial_wide

    def one_logit(weights, z, n, first, target, scale, want_grad, tile, proba_tile):
        return logit_cross_entropy(z, n, first, target, scale, want_grad, tile)

    def partial(weights, z, n, first, target, scale, want_grad, tile, proba_tile):
        n_classes, stride = weights.n_classes, weights.stride
        return partial_rows(z, stride, n, n_classes, first, target, scale, want_grad, tile, proba_tile)

    if _one_logit(weights):
        return one_logit
    if target.instance_class is PartialTarget:
        return partial

    def chosen(weights, z, n, first, target, scale, want_grad, tile, proba_tile):
        n_classes, stride = weights.n_classes, weights.stride
        return rows(
            z, 0, stride, n, n_classes, first, target, scale, z[:0], want_grad, z, 0, stride, tile, proba_tile
        )  # fmt: skip

    def either(weights, z, n, first, target, scale, want_grad, tile, proba_tile):
        n_classes, stride = weights.n_classes, weights.stride
        if weights.form == LOGIT:
            return logit_cross_entropy(z, n, first, target, scale, want_grad, tile)
        if n_classes <= MOST_CLASSES_IN_TILE:
            return cross_entropy_tiles(
                z, 0, stride, n, n_classes, first, target, scale, z[:0], want_grad, z, 0, stride, tile, proba_tile
            )  # fmt: skip
        return cross_entropy_wide(
            z, 0, stride, n, n_classes, first, target, scale, z[:0], want_grad, z, 0, stride, tile, proba_tile
        )  # fmt: skip

    return chosen if _known(weights) else either


def curvature_of(weights, z, u, n, first, curvature, memory, kept, ki, tile, u_tile):
    """Replace u by the Hessian of the losses of n rows times u: see `rows.curvature_rows`."""
    raise NotImplementedError(_COMPILED)


@by_type(curvature_of)
def _curvature_of(weights, z, u, n, first, curvature, memory, kept, ki, tile, u_tile):
    rows = curvature_tiles if has_few_classes(weights) else curvature_wide

    def chosen(weights, z, u, n, first, curvature, memory, kept, ki, tile, u_tile):
        rows(z, u, weights.stride, n, weights.n_classes, first, curvature, memory, kept, ki, tile, u_tile)

    def one_logit(weights, z, u, n, first, curvature, memory, kept, ki, tile, u_tile):
        logit_curvature(z, u, n, first, curvature, memory, kept, ki)

    return one_logit if _one_logit(weights) else chosen


@jit
def loss_and_grad(todo, rows, weights, target, fit_intercept, want_grad, partial, gradient):
    """Write the loss of each chunk of rows to `partial` (n_chunks,), and add its gradient to `gradient`.

    `gradient` is (n_chunks, K, N + 1) flat. Chunks are tasks.
    """
    n_classes, stride = weights.n_classes, weights.stride
    size = block_rows(rows, weights, 1)
    z, pack, tile, proba_tile, narrow = scratch(rows, size, weights)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, partial.size, rows.n_rows)
        gi = chunk * n_classes * (rows.n_features + 1)
        total = 0.0
        for start in range(low, high, size):
            n = min(size, high - start)
            block = block_of(rows, weights, start, n, pack)
            logits_of(block, weights, 0, n_classes, z, stride)
            add_offset(rows, start, n, n_classes, z, stride)
            total += cross_entropy_of(weights, z, n, start, target, 1.0, want_grad, tile, proba_tile)
            if want_grad:
                add_gradient(block, weights, z, stride, 0, n_classes, fit_intercept, tile.numbers, narrow, gradient, gi)
        partial[chunk] = total
        chunk = take(todo)


@jit
def hess_vec(todo, n_chunks, rows, weights, v, curvature, fit_intercept, memory, kept, gradient):
    """Add the Hessian-vector product of each chunk of rows to `gradient`, (n_chunks, K, N + 1) flat.

    `memory` says whether probabilities are stored in `kept`, or taken from it: see `rows.curvature_rows`.
    """
    n_classes, stride = weights.n_classes, weights.stride
    size = block_rows(rows, weights, 2)
    z, pack, tile, u_tile, narrow = scratch(rows, size, weights)
    u = aligned((size + MOST_ROWS) * stride, rows.x)
    n_kept = kept.size // (n_chunks * n_classes)  # rows of each chunk whose probabilities fit in `kept`
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
        gi = chunk * n_classes * (rows.n_features + 1)
        for start in range(low, high, size):
            n = min(size, high - start)
            block = block_of(rows, weights, start, n, pack)
            # Every chunk keeps the same number of rows, so that all threads have equal work.
            mode = memory if start - low + n <= n_kept else FORGET
            if mode != KEPT:
                logits_of(block, weights, 0, n_classes, z, stride)
                add_offset(rows, start, n, n_classes, z, stride)
            logits_of(block, v, 0, n_classes, u, stride)
            at = (chunk * n_kept + start - low) * n_classes
            curvature_of(weights, z, u, n, start, curvature, mode, kept, at, tile, u_tile)
            add_gradient(block, weights, u, stride, 0, n_classes, fit_intercept, tile.numbers, narrow, gradient, gi)
        chunk = take(todo)
