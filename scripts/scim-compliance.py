"""Runs scim2-tester against a SCIM provider: `scim-compliance.py <base URL> <token>`. One JSON object per check on standard output."""

import json
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

base_url, token = sys.argv[1:3]
with Client(base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
    for result in check_server(SyncSCIMClient(http)):
        print(
            json.dumps(
                {
                    "status": result.status.name,
                    "title": result.title,
                    "resource": result.resource_type,
                    "reason": result.reason,
                }
            )
        )
