/** NH-04 for files: no literal secret of any shape, in any field of any kind, reaches the store; its place is told and its value never. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { literalSecrets } from '../../../src/admin/apply/secrets.ts';
import { LOOK_ALIKES, SECRETS } from '../../support/secrets.ts';
import { startPlane, type Plane } from '../plane.ts';
import {
  agent,
  applied,
  everything,
  group,
  mapping,
  plan,
  policy,
  problems,
  rowsOf,
  server,
  type Sent,
} from './files.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const HTTP = {
  transport: 'http',
  url: 'https://docs.example/mcp',
  headers: [{ name: 'X-Api-Key', value: { secret: 'env:DOCS_KEY' } }],
  auth: {
    grant: 'client_credentials',
    issuer: 'https://as.example',
    client: { method: 'client_secret_basic', id: 'remit', secret: { secret: 'file:/run/secrets/docs' } },
    scopes: ['docs'],
  },
};
const whole = (): Sent[] => [
  { kind: 'organisation', id: 'default', spec: { title: 'Test', newAgents: 'active' } },
  group('g', ['developer']),
  mapping(plane, {
    tenant: { claim: 'tid', value: 'ours' },
    rules: [{ claim: 'team', value: 'x', roles: ['developer'] }],
  }),
  agent(plane, 'a', {
    owner: 'omar',
    purpose: 'tests',
    revocation: 'delete the client',
    ceiling: { servers: ['files'], scopes: ['a'] },
  }),
  server('http', {
    upstream: HTTP,
    revocation: 'call us',
    source: { vendor: 'Docs', version: '1.2.3', sbom: 'https://docs.example/sbom' },
  }),
  server('stdio', {
    upstream: {
      transport: 'stdio',
      command: ['node', '/srv/x.js', '--root', '/data'],
      env: { MODE: 'plain', API_KEY: { secret: 'env:API_KEY' } },
      mounts: [{ from: '/data', to: '/data', mode: 'read' }],
    },
  }),
  policy('p', 'operator', { replaces: [] }),
  {
    kind: 'grant',
    id: 'gr',
    spec: {
      who: { kind: 'person', id: 'dana' },
      what: { server: 'http', items: ['read'] },
      conditions: [{ argument: '/path', is: 'path_under', values: ['/data'] }],
      justification: 'needs it',
    },
  },
];

/** Every text of a value, by the path to it. */
function* texts(value: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  if (typeof value === 'string') yield path;
  else if (typeof value === 'object' && value !== null)
    for (const [key, inner] of Object.entries(value)) yield* texts(inner, [...path, key]);
}
function put(value: unknown, [head, ...rest]: readonly string[], text: string): unknown {
  if (head === undefined) return text;
  if (Array.isArray(value))
    return value.map((inner: unknown, at) => (String(at) === head ? put(inner, rest, text) : inner));
  const object = value as Record<string, unknown>;
  return { ...object, [head]: put(object[head], rest, text) };
}

test('the specs that the fields come from hold no secret, and are whole', () => {
  for (const { kind, id, spec } of whole()) expect([kind, id, literalSecrets(spec)]).toEqual([kind, id, []]);
});

test('NH-04: every shape is found in every field of every kind, at its place', () => {
  let tried = 0;
  for (const { spec } of whole())
    for (const path of texts(spec))
      for (const [, secret] of SECRETS) {
        tried++;
        expect(literalSecrets(put(spec, path, secret)).map((at) => at.slice(1))).toContainEqual(path);
      }
  expect(tried).toBeGreaterThan(40 * 40);
});

test('NH-04: every shape is refused by the API, its place told, its value never, and nothing stored', async () => {
  const before = await everything(plane);
  const fields = [
    ['purpose'],
    ['upstream', 'url'],
    ['upstream', 'headers', '0', 'value', 'secret'],
    ['upstream', 'auth', 'client', 'secret', 'secret'],
    ['title'],
  ];
  const resources = SECRETS.map(([, secret], at): Sent => {
    const { spec } = server('x', { upstream: HTTP });
    const field = fields[at % fields.length]!;
    const text =
      field[1] === 'url'
        ? `https://docs.example/${encodeURI(secret)}`
        : field.at(-1) === 'secret'
          ? `env:${secret}`
          : secret;
    return { kind: 'server', id: `secret-${at}`, spec: put(spec, field, text) as object };
  });
  // Shapes with characters that a URL does not carry as they are go somewhere else.
  const plain = resources.map((resource, at) =>
    at % fields.length === 1
      ? { ...resource, spec: put(server('x').spec, ['purpose'], SECRETS[at]![1]) as object }
      : resource,
  );
  const reply = await plan(plane, 'omar', plain);
  const found = rowsOf(reply).map(({ problems: list }) => list.some(({ code }) => code === 'secret_literal'));
  expect(found.map((is, at) => (is ? null : SECRETS[at]![0])).filter((one) => one !== null)).toEqual([]);
  for (const [vendor, secret] of SECRETS)
    expect([vendor, reply.text.includes(JSON.stringify(secret).slice(1, -1))]).toEqual([vendor, false]);
  const forced = await plane.as('omar', 'POST', '/apply', {
    resources: plain,
    digest: `sha256:${'0'.repeat(64)}`,
    reason: 'x',
  });
  expect([forced.status, await everything(plane)]).toEqual([422, before]);
  for (const [vendor, secret] of SECRETS)
    expect([vendor, forced.text.includes(JSON.stringify(secret).slice(1, -1))]).toEqual([vendor, false]);
});

describe('NH-04: places', () => {
  const secret = SECRETS.find(([vendor]) => vendor === 'github')![1];
  test.each([
    [
      'a value by the name it stands under',
      () => server('n', { upstream: { transport: 'stdio', command: ['node', 'x'], env: { DB_PASSWORD: 'hunter22' } } }),
      'spec.upstream.env.DB_PASSWORD',
      'hunter22',
    ],
    [
      'the name of a member',
      () => server('n', { upstream: { transport: 'stdio', command: ['node', 'x'], env: { [secret]: 'x' } } }),
      'spec.upstream.env.[github]',
      secret,
    ],
    ['an unknown member', () => server('n', { [secret]: 1 }), 'spec.[github]', secret],
    ['text of a policy', () => policy('n', secret), 'spec.text', secret],
    [
      'a user and password in an address',
      () => mapping(plane, { issuer: 'https://me:s3cret@login.example' }),
      'spec.issuer',
      's3cret',
    ],
    ['a spec that is wrong otherwise', () => server('n', { owner: secret, dataClasses: 7 }), 'spec.owner', secret],
  ] as const)('%s', async (_what, resource, place, value) => {
    const reply = await plan(plane, 'ada', [resource()]);
    expect(problems(reply).filter((line) => line.includes('secret_literal'))).toEqual([
      `${resource().kind}/${resource().id} ${place}: secret_literal`,
    ]);
    expect(reply.text).not.toContain(value);
  });
  test('an id that is a secret is not repeated', async () => {
    const reply = await plan(plane, 'ada', [group(secret.toLowerCase()), { kind: secret, id: secret, spec: {} }]);
    expect(problems(reply)).toEqual([
      'group/[github] id: secret_literal',
      'group/[github] spec.name: secret_literal',
      '[github]/[github] kind: unknown_kind',
    ]);
    expect(reply.text).not.toContain(secret.toLowerCase());
    expect(reply.text).not.toContain(secret);
  });
});

test.each(LOOK_ALIKES)('%j is accepted where people write', async (text) => {
  const reply = await plan(plane, 'omar', [server('benign', { purpose: text, revocation: text })]);
  expect(problems(reply)).toEqual([]);
});

test('references are accepted in every place that takes one', async () => {
  const reply = await plan(
    plane,
    'ada',
    whole().filter(({ kind }) => kind !== 'grant'),
  );
  expect(problems(reply)).toEqual([]);
});

test('twin: what apply refuses would stand in the record, in the history and in every backup', async () => {
  const [, secret] = SECRETS.find(([vendor]) => vendor === 'vault')!;
  const resource = server('leak', { purpose: `use ${secret}` });
  expect((await applied(plane, 'omar', [resource])).body['digest']).toBe(null);
  expect(await everything(plane)).not.toContain(secret);
  await plane.seed([plane.put('server', 'leak', { ...resource.spec, state: 'draft' })]);
  expect(await everything(plane)).toContain(secret);
});
