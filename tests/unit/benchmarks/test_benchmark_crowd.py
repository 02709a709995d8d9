"""The platform of many tenants, made from the example."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.crowd import TENANTS, tenant_names, write_platform

from tenantry.config.platform import load_platform
from tenantry.config.wrangler import load_project
from tenantry.control.limits import VARIABLE_BYTES_MAX

EXAMPLE = Path(__file__).parents[3] / "examples" / "multi-tenant"


def test_every_tenant_has_a_worker_with_resources_of_its_own_and_the_dispatcher_knows_it(tmp_path: Path) -> None:
    write_platform(EXAMPLE, tmp_path / "crowd", 3)

    platform = load_platform(tmp_path / "crowd")

    tenants = [worker for worker in platform.workers if (worker.customer or "") in tenant_names(3)]
    assert [worker.customer for worker in tenants] == ["t000", "t001", "t002"]
    assert {worker.namespace for worker in tenants} == {"bindings"}
    assert len({worker.project.r2_buckets[0].bucket_name for worker in platform.workers[1:]}) == 6
    assert len({worker.project.d1_databases[0].database_name for worker in platform.workers[1:]}) == 6
    dispatcher = next(worker for worker in platform.workers if worker.project.name == platform.gateway_worker)
    customers = dispatcher.project.vars["CUSTOMERS"]
    assert isinstance(customers, dict)
    assert {name: customers[name] for name in ("user1", "t002")} == {
        "user1": "customer-worker-1",
        "t002": "t002",
    }


def test_the_list_of_all_tenants_fits_into_one_variable_of_the_dispatcher(tmp_path: Path) -> None:
    write_platform(EXAMPLE, tmp_path / "crowd", TENANTS)
    project = load_project(tmp_path / "crowd" / "my-binding-dispatcher")
    assert len(json.dumps(project.vars["CUSTOMERS"])) <= VARIABLE_BYTES_MAX
