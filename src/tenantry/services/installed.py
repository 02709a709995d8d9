"""The services that are installed, opened once for an account and handed to all who reach its data: the host for its
Workers' bindings, the control plane for its REST routes, the S3 endpoint for buckets."""

from __future__ import annotations

from importlib.metadata import entry_points

from tenantry.services import Service, ServiceFactory, ServiceSettings

__all__ = ["InstalledServices", "installed_factories"]


def installed_factories() -> list[ServiceFactory]:
    """What each entry point in `tenantry.services` names."""
    return [entry_point.load() for entry_point in entry_points(group="tenantry.services")]


class InstalledServices:
    """Every service that an entry point in `tenantry.services` names. Made and used on one event loop."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.by_name: dict[str, Service] = {}
        self.by_binding_type: dict[str, tuple[Service, str]] = {}
        """With the field of such a binding that names its resource."""
        for factory in installed_factories():
            service = self.by_name[factory.name] = factory(settings)
            for binding_type, field in factory.binding_types.items():
                self.by_binding_type[binding_type] = (service, field)

    async def aclose(self) -> None:
        """After all who use them: what was acknowledged is kept."""
        for service in self.by_name.values():
            await service.aclose()
