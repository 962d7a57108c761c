/**
 * Every revision of the protocol as client, through one real gateway, against every revision as server: over HTTP all of them, over stdio and
 * HTTP+SSE those that say something new. A cell is everything the two can do together; what has to come out follows from the two
 * revisions (`expected`). The table is published as `docs/guides/versions-matrix.json`.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type ConformanceNode, overHttp, startNode } from '../conformance/node.ts';
import { REPOSITORY } from '../support/upstreams/open.ts';
import { openClient } from './client.ts';
import { type Cell, expected, probe } from './probe.ts';
import { LEGACY_REVISIONS, REVISIONS, type Revision } from './revisions.ts';
import { type MatrixServers, startMatrixServers } from './server.ts';

// Fifty cells of real SDK code on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

type Wire = 'http' | 'sse' | 'stdio';
interface Pair {
  readonly client: Revision;
  readonly facing: 'http' | 'sse';
  readonly server: Revision;
  readonly behind: Wire;
}

const OLDEST: Revision = '2024-11-05';
const NEWEST: Revision = '2026-07-28';

const PAIRS: readonly Pair[] = [
  ...REVISIONS.flatMap((client) =>
    REVISIONS.map((server): Pair => ({ client, facing: 'http', server, behind: 'http' })),
  ),
  ...[OLDEST, NEWEST].flatMap((client) =>
    REVISIONS.map((server): Pair => ({ client, facing: 'http', server, behind: 'stdio' })),
  ),
  ...[OLDEST, NEWEST].flatMap((client) =>
    LEGACY_REVISIONS.map((server): Pair => ({ client, facing: 'http', server, behind: 'sse' })),
  ),
  ...REVISIONS.map((server): Pair => ({ client: OLDEST, facing: 'sse', server, behind: 'http' })),
];

const idOf = (behind: Wire, server: Revision): string => `${behind}-${server}`;

let servers: MatrixServers;
let node: ConformanceNode;

beforeAll(async () => {
  servers = await startMatrixServers();
  const clientsOverSse = true;
  node = await startNode(
    Object.fromEntries([
      ...REVISIONS.map((server) => [idOf('http', server), { ...overHttp(`${servers.url}/${server}`), clientsOverSse }]),
      ...LEGACY_REVISIONS.map((server) => [
        idOf('sse', server),
        {
          upstream: { transport: 'sse', url: `${servers.url}/${server}/sse`, allowedNetworks: ['127.0.0.1/32'] },
        },
      ]),
      ...REVISIONS.map((server) => [
        idOf('stdio', server),
        {
          upstream: {
            transport: 'stdio',
            command: ['node', '/repo/test/matrix/server.ts', server],
            mounts: [{ from: REPOSITORY, to: '/repo', mode: 'read' }],
          },
          connections: 'person',
        },
      ]),
    ]),
  );
});
afterAll(async () => {
  await node?.stop();
  await servers?.close();
});

test('every item of every server was approved', () => {
  expect(node.refused).toEqual([]);
});

const rows: Array<Pair & Cell> = [];

describe.each(REVISIONS)('a client of %s', (client) => {
  test.for(PAIRS.filter((pair) => pair.client === client))(
    'over $facing, a server of $server behind $behind',
    async (pair) => {
      const id = idOf(pair.behind, pair.server);
      const session = await openClient(client, {
        url: pair.facing === 'sse' ? `${node.endpoint(id)}/sse` : node.endpoint(id),
        // Whoever cancels a call on a shared stream gets no more log lines of it, so the two have a process each.
        token: node.token(id, client === NEWEST ? 'dora' : 'dana'),
        transport: pair.facing,
      });
      try {
        const cell = await probe(session, pair.server);
        rows.push({ ...pair, ...cell });
        expect(cell).toEqual(expected(client, pair.server, pair.behind));
      } finally {
        await session.close().catch(() => undefined);
      }
    },
  );
});

test('PH-13: the published table is what came out', async () => {
  expect(rows).toHaveLength(PAIRS.length);
  await expect(`${JSON.stringify(rows, null, 2)}\n`).toMatchFileSnapshot('../../docs/guides/versions-matrix.json');
});
