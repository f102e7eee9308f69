"""A Dask cluster as an executor: an existing scheduler, addressed by ``--dask``."""

import sys
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from ...datatypes.base.errors import BitlatheError, to_install

WORKER_SECONDS = 60.0  # how long a sweep waits for the first worker, or for one after the last


class Cluster:
    """A connection to a Dask scheduler.

    Parameters
    ----------
    address : str
        For example ``tcp://head:8786``.
    timeout : str
        How long to wait for the scheduler's answer.

    Raises
    ------
    BitlatheError
        Dask is not installed, or no scheduler answers in that time.
    """

    def __init__(self, address: str, timeout: str = "10s") -> None:
        try:
            import distributed
            from distributed.comm.addressing import get_address_host_port
        except ImportError:
            raise BitlatheError(
                f"--dask needs Dask: {to_install('distributed', 'cluster')}."
            ) from None
        self.address = address
        connect: Any = distributed.Client
        try:
            with suppress(NotImplementedError):  # of addresses without a host
                get_address_host_port(address)  # a client of a bad address would not end
            self._client: Any = connect(address, timeout=timeout, set_as_default=False)
        except (OSError, ValueError, TypeError) as err:
            raise BitlatheError(
                f"--dask {address}: no scheduler answers there ({err}); give an address such as "
                "tcp://127.0.0.1:8786."
            ) from None

    def wait_for_worker(self) -> None:
        """Return when the cluster has a worker; say so if there is none yet.

        Raises
        ------
        BitlatheError
            No worker came in `WORKER_SECONDS`.
        """
        if self._client.nthreads():
            return
        print(f"waiting for workers at {self.address}", file=sys.stderr, flush=True)
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise BitlatheError(
                f"--dask {self.address}: the scheduler has no workers, and none came in "
                f"{WORKER_SECONDS:g} s; start one with: dask worker {self.address}. Finished "
                "points are safe."
            ) from None

    @property
    def threads(self) -> int:
        """Tasks that the cluster's workers can run at once now (at least 1)."""
        counts: dict[str, int] = self._client.nthreads()
        return max(1, sum(counts.values()))

    def executor(self) -> Executor:
        """Return an executor on the cluster; tasks of a lost worker run again elsewhere."""
        pool: Executor = self._client.get_executor()
        return pool

    def close(self) -> None:
        """End the connection; the cluster goes on."""
        self._client.close()
