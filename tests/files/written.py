"""What several tests write: bytes, a small model, the data of a small fit; errors of full disks."""

import errno
import io
import os
import stat
import zipfile

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.files import whole_file

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and devices of POSIX")
linux = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")


def write(path, content=b"new"):
    with whole_file(path) as file:
        file.write(content)


def a_model(classes=(0, 1), names=None, training=None):
    k = len(classes)
    return nbs.SoftmaxModel(np.arange(2.0 * k).reshape(k, 2), np.zeros(k), classes, names, training)


def data(m=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, 2))
    return X, (X @ [1.0, -1.0] + rng.logistic(size=m) > 0).astype(int)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def header(shape, dtype):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
    return file.getvalue()


def damaged(good, name, content, path, compression=zipfile.ZIP_STORED):
    """A copy of an archive with one member replaced."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", compression) as new:
        for member in old.namelist():
            new.writestr(member, content if member == name else old.read(member))
    return path


def null_device(tmp_path):
    """A device that takes everything; our own where that is allowed: a fault could replace the system's."""
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
        path.write_bytes(b"")  # fails in a folder without devices
    except OSError:
        return "/dev/null"
    return path
