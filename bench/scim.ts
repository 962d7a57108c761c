/**
 * How long a directory takes to arrive, and how long one change takes until calls are decided by it: `node bench/scim.ts`.
 * BENCH_PEOPLE, BENCH_GROUPS, BENCH_MEMBERS (of each group); BENCH_SINGLE=1 sends people one by one, as Entra and Okta do, instead of in bulk.
 * One JSON object on standard output. The node is a process of its own; this one is the identity provider.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ScimNodeAsk, ScimNodeReady } from './scim-node.ts';

const number = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);
const people = number('BENCH_PEOPLE', 2_000);
const groups = number('BENCH_GROUPS', 200);
const membersOfEach = number('BENCH_MEMBERS', 100);
const single = process.env['BENCH_SINGLE'] === '1';
const CHANGES = 50;
const BULK = 500;
const AT_ONCE = 8;

const child = fork(join(import.meta.dirname, 'scim-node.ts'), [], {
  execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
});
const [ready] = (await once(child, 'message')) as [ScimNodeReady];

async function ask<T>(asked: ScimNodeAsk): Promise<T> {
  const answered = once(child, 'message') as Promise<[{ readonly answer: T }]>;
  child.send(asked);
  return (await answered)[0].answer;
}

let waits = 0;
async function scim(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  for (;;) {
    const response = await fetch(`${ready.admin}/scim/v2${path}`, {
      method,
      headers: { authorization: `Bearer ${ready.token}`, 'content-type': 'application/scim+json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.status === 429) {
      waits++;
      await new Promise((resolve) => void setTimeout(resolve, Number(response.headers.get('retry-after')) * 1_000));
      continue;
    }
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 300)}`);
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  }
}

const user = (n: number) => ({
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
  userName: `person.${n}@bench.example`,
  externalId: `ext-${n}`,
  active: true,
  displayName: `Person ${n}`,
  name: { givenName: 'Person', familyName: `${n}`, formatted: `Person ${n}` },
  emails: [{ value: `person.${n}@bench.example`, type: 'work', primary: true }],
  title: 'Engineer',
  'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': { department: `D${n % 40}`, employeeNumber: `${n}` },
});

async function spread(count: number, work: (n: number) => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) await work(next++);
    }),
  );
  return performance.now() - startedAt;
}

const ids = Array.from<string>({ length: people });
const memoryBefore = await ask<NodeJS.MemoryUsage>({ ask: 'memory' });
const peopleMs = single
  ? await spread(people, async (n) => {
      ids[n] = (await scim('POST', '/Users?attributes=id', user(n)))['id'] as string;
    })
  : await spread(Math.ceil(people / BULK), async (part) => {
      const from = part * BULK;
      const count = Math.min(BULK, people - from);
      const { Operations } = await scim('POST', '/Bulk', {
        Operations: Array.from({ length: count }, (_, i) => ({
          method: 'POST',
          path: '/Users',
          bulkId: `${i}`,
          data: user(from + i),
        })),
      });
      for (const [i, { location }] of (Operations as Array<{ location: string }>).entries())
        ids[from + i] = location.split('/').at(-1)!;
    });
const groupIds: string[] = [];
const groupsMs = await spread(groups, async (n) => {
  const members = Array.from({ length: Math.min(membersOfEach, people) }, (_, i) => ({
    value: ids[(n * membersOfEach + i) % people]!,
  }));
  const { id } = await scim('POST', '/Groups?attributes=id', {
    displayName: `Group ${n}`,
    externalId: `g${n}`,
    members,
  });
  groupIds.push(id as string);
});
const memoryAfter = await ask<NodeJS.MemoryUsage>({ ask: 'memory' });

// One membership change, and the same token is judged by it: the admin API answers by the standing that calls are decided by.
const { id: probe } = await scim('POST', '/Groups', { displayName: 'probe', externalId: 'probe' });
await ask({ ask: 'roles', group: probe as string });
const token = await ask<string>({ ask: 'token', externalId: 'ext-0' });
const hasRole = async (): Promise<boolean> => {
  const answer = await fetch(`${ready.admin}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  const { roles } = (await answer.json()) as { readonly roles?: readonly string[] };
  if (roles === undefined) throw new Error(`GET /me: ${answer.status}`);
  return roles.includes('auditor');
};
await hasRole();
const acknowledged: number[] = [];
const visible: number[] = [];
let late = 0;
for (let n = 0; n < CHANGES; n++) {
  const join = n % 2 === 0;
  const startedAt = performance.now();
  await scim('PATCH', `/Groups/${probe as string}?excludedAttributes=members`, {
    Operations: [
      join
        ? { op: 'add', path: 'members', value: [{ value: ids[0] }] }
        : { op: 'remove', path: `members[value eq "${ids[0]!}"]` },
    ],
  });
  acknowledged.push(performance.now() - startedAt);
  if ((await hasRole()) !== join) late++;
  visible.push(performance.now() - startedAt);
}

const rounded = (ms: number): number => Math.round(ms * 10) / 10;
const at = (times: readonly number[], share: number): number =>
  rounded(times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * share))]!);
const lookupStartedAt = performance.now();
for (let n = 0; n < 50; n++)
  await scim('GET', `/Users?filter=${encodeURIComponent(`userName eq "person.${n}@bench.example"`)}`);
const lookupMs = rounded((performance.now() - lookupStartedAt) / 50);
const scanStartedAt = performance.now();
await scim('GET', `/Users?filter=${encodeURIComponent('title co "xyz"')}`);
const scanMs = rounded(performance.now() - scanStartedAt);

const mb = (bytes: number): number => Math.round(bytes / 1_048_576);
process.stdout.write(
  `${JSON.stringify(
    {
      people,
      groups,
      memberships: groups * Math.min(membersOfEach, people),
      mode: single ? 'one by one' : `bulk of ${BULK}`,
      load: { peopleMs: rounded(peopleMs), groupsMs: rounded(groupsMs), waits },
      change: {
        acknowledgedMs: { p50: at(acknowledged, 0.5), max: at(acknowledged, 1) },
        decidedByMs: { p50: at(visible, 0.5), max: at(visible, 1) },
        decidedByTheOldState: late,
      },
      lookupMs,
      scanMs,
      memoryMb: {
        before: { rss: mb(memoryBefore.rss), heap: mb(memoryBefore.heapUsed) },
        after: { rss: mb(memoryAfter.rss), heap: mb(memoryAfter.heapUsed) },
      },
    },
    null,
    2,
  )}\n`,
);
child.disconnect();
await once(child, 'exit');
