"""What tests of models that really run share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Threads that wait for each other take longer than products of tiny models."""
    torch = pytest.importorskip("torch")
    many = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(many)
