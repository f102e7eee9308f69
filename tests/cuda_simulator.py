"""Numba's CUDA simulator with its threads in turn: quicker than its own, and in a known order.

Its own starts a thread of Python for each thread of a block and asks them all, over and over,
whether they wait. Here each runs up to its next barrier, then the next one does: a barrier that is
missing lets one thread run ahead of all others, every time. Every other block turns the order
round, as a thread may be missed before it or behind it.
"""

import threading
from contextlib import nullcontext

import numpy as np
from numba.cuda.simulator import kernel

BARRIERS = ("syncthreads", "syncthreads_count", "syncthreads_and", "syncthreads_or")


class Turn(kernel.BlockThread):
    """A thread of a block that runs when it is told to, up to its next barrier."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.told, self.paused, self.ended = threading.Lock(), threading.Lock(), False
        self.told.acquire()
        self.paused.acquire()
        self.start()

    def run(self):
        self.told.acquire()
        if not self.abort:
            super().run()
        self.ended = True
        self.paused.release()

    def syncthreads(self):
        self.paused.release()
        self.told.acquire()
        if self.abort:
            raise SystemExit  # ends this thread alone

    def take(self):
        """Let it run; raise what it raised."""
        self.told.release()
        self.paused.acquire()
        if self.exception:
            raise self.exception[0].with_traceback(self.exception[1])


class Block(kernel.BlockManager):
    """A block whose threads take turns; those without a barrier run in the caller's thread."""

    def run(self, grid_point, *arguments):
        points = list(np.ndindex(*self._block_dim))
        points = points[:: -1 if sum(grid_point) % 2 else 1]

        def body():
            self._f(*arguments)

        if not set(BARRIERS) & set(self._f.__code__.co_names):
            here = threading.current_thread()
            here.blockIdx = kernel.Dim3(*grid_point)
            for point in points:
                here.threadIdx = kernel.Dim3(*point)
                body()
            return
        threads = [Turn(body, self, grid_point, point, self._debug) for point in points]
        try:
            while not all(thread.ended for thread in threads):
                for thread in threads:
                    thread.take()
                assert len({thread.ended for thread in threads}) == 1, "some end before a barrier"
        finally:
            for thread in threads:
                if not thread.ended:
                    thread.abort = True
                    thread.told.release()
            for thread in threads:
                thread.join()


def swapped(function, module, swap=kernel.swapped_cuda_module):
    """As numba's: ``cuda`` in the globals of a function is the simulated module; if it says so."""
    return swap(function, module) if "cuda" in function.__code__.co_names else nullcontext()


def install():
    """Let the simulator run blocks so."""
    kernel.BlockManager, kernel.swapped_cuda_module = Block, swapped
