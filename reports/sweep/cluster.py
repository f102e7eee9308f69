"""A Dask cluster as an executor: an existing scheduler, addressed by ``--dask``."""

from concurrent.futures import Executor
from typing import Any

from ...datatypes.errors import BitlatheError


class Cluster:
    """A connection to a Dask scheduler.

    Parameters
    ----------
    address : str
        For example ``tcp://head:8786``.
    timeout : str
        How long to wait for an answer.

    Raises
    ------
    BitlatheError
        Dask is not installed, or no scheduler answers in that time.
    """

    def __init__(self, address: str, timeout: str = "10s") -> None:
        try:
            import distributed
        except ImportError:
            raise BitlatheError("--dask needs Dask: pip install 'bitlathe[cluster]'.") from None
        connect: Any = distributed.Client
        try:
            self._client: Any = connect(address, timeout=timeout, set_as_default=False)
        except (OSError, ValueError, TypeError) as err:
            raise BitlatheError(
                f"--dask {address}: no scheduler answers there ({err}); give an address such as "
                "tcp://127.0.0.1:8786."
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
