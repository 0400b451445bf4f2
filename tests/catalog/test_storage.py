import pytest
from support.memory_storage import MemoryStorage
from support.storage_conformance import StorageConformance


class TestMemoryStorage(StorageConformance):
    @pytest.fixture
    def storage(self):
        return MemoryStorage()
