"""The ranks as Lightning sees them: started by the client, described by environment variables."""

from lightning.pytorch.plugins.environments import TorchElasticEnvironment


class RankEnvironment(TorchElasticEnvironment):
    """Processes that the client has started already, one a rank, as an elastic launcher would."""

    @staticmethod
    def detect() -> bool:
        """True: nobody else starts ranks."""
        return True

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Accepts any division: the client has chosen it."""
