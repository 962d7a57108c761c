import { describe, expect, test } from 'vitest';
import { Server } from '../../src/inventory/records.ts';
import { checkServer, isNetwork } from '../../src/inventory/servers.ts';

const base = {
  title: 'X',
  owner: 'team-x',
  purpose: 'testing',
  environment: 'evaluation',
  dataClasses: ['public'],
  state: 'draft',
} as const;
const http = (upstream: object): Server =>
  Server.parse({ ...base, upstream: { transport: 'http', url: 'https://mcp.example/mcp', ...upstream } });
const stdio = (upstream: object): Server =>
  Server.parse({ ...base, upstream: { transport: 'stdio', command: ['node', '/srv/x.js'], ...upstream } });
const found = (server: Server): string[] => checkServer(server).map(({ code, field }) => `${code} ${field}`);

// Put together here so that no scanner takes the test for a leak.
const GITHUB = `ghp_${'a1B2'.repeat(9)}`;
const AWS = `AKIAABCDEFGHIJKLMNOP`;

describe('NH-04: literal secrets are refused in every field', () => {
  test.each([
    ['user and password in the address', http({ url: 'https://u:p@mcp.example/' }), 'upstream.url'],
    ['a token in the query', http({ url: 'https://mcp.example/?access_token=abcdef123' }), 'upstream.url'],
    ['a key in the query by its shape', http({ url: `https://mcp.example/?q=${GITHUB}` }), 'upstream.url'],
    ['a key in the path', http({ url: `https://mcp.example/${GITHUB}/mcp` }), 'upstream.url'],
    ['an environment value by its shape', stdio({ env: { HARMLESS: AWS } }), 'upstream.env.HARMLESS'],
    ['an environment value by its name', stdio({ env: { API_KEY: 'hunter22' } }), 'upstream.env.API_KEY'],
    ['a password by its name', stdio({ env: { DB_PASSWORD: 'x9' } }), 'upstream.env.DB_PASSWORD'],
    ['an argument --flag=value', stdio({ command: ['node', 'x.js', '--api-key=abc123def'] }), 'upstream.command.2'],
    ['an argument after its flag', stdio({ command: ['node', 'x.js', '--token', 'abc123def'] }), 'upstream.command.3'],
    ['an argument by its shape', stdio({ command: ['node', 'x.js', GITHUB] }), 'upstream.command.2'],
    ['a database address', stdio({ env: { DATABASE: 'postgres://app:s3cret@db/x' } }), 'upstream.env.DATABASE'],
  ])('NH-04: %s', (_what, server, field) => {
    expect(found(server)).toEqual([`server_secret_literal ${field}`]);
    expect(checkServer(server)[0]?.message).toContain('env:NAME or file:PATH');
    expect(checkServer(server)[0]?.message).not.toMatch(/hunter22|abc123def|s3cret/);
  });
  test.each([
    ['a plain address with a query', http({ url: 'https://mcp.example/mcp?tenant=a&page=2' })],
    ['references', stdio({ env: { API_KEY: { secret: 'env:UPSTREAM_KEY' } } })],
    ['a switch with such a name', stdio({ env: { AUTH: 'false', TOKEN_LIMIT: '4096' } })],
    ['a path under such a name', stdio({ env: { TOKEN_FILE: '/run/secrets/token' } })],
    ['words that contain one', stdio({ env: { AUTHOR: 'Anna', MONKEY: 'business', COMPASS: 'north' } })],
    ['flags in a row', stdio({ command: ['node', 'x.js', '--no-auth', '--verbose'] })],
  ])('accepts %s', (_what, server) => {
    expect(found(server)).toEqual([]);
  });
});

describe('destinations', () => {
  test('plain http only into a declared network', () => {
    expect(found(http({ url: 'http://10.0.0.5/mcp' }))).toEqual(['server_plain_http upstream.url']);
    expect(found(http({ url: 'http://10.0.0.5/mcp', allowedNetworks: ['10.0.0.0/8'] }))).toEqual([]);
  });
  test.each([
    ['10.0.0.0/8', true],
    ['192.168.1.1/32', true],
    ['fd00::/8', true],
    ['::1/128', true],
    ['10.0.0.0', false],
    ['10.0.0.0/33', false],
    ['fd00::/129', false],
    ['0.0.0.0/0', false],
    ['0.0.0.0/1', false],
    ['128.0.0.0/1', false],
    ['10.0.0.0/7', false],
    ['::/1', false],
    ['fc00::/7', true],
    ['fc00::/6', false],
    ['169.254.169.254/32', false],
    ['169.254.0.0/16', false],
    ['169.0.0.0/8', false],
    ['169.252.0.0/14', false],
    ['169.128.0.0/10', true],
    ['169.192.0.0/10', false],
    ['169.255.0.0/16', true],
    ['::/0', false],
    ['10.0.0/8', false],
    ['10.0.0.0/08', false],
    ['10.0.0.0/8/8', false],
    ['example.org/8', false],
    ['', false],
  ])('%j is a network: %s', (text, is) => {
    expect(isNetwork(text)).toBe(is);
    expect(found(http({ allowedNetworks: [text] }))).toEqual(is ? [] : ['server_network upstream.allowedNetworks.0']);
  });
  test.each([
    'Host',
    'content-length',
    'Transfer-Encoding',
    'Mcp-Session-Id',
    'X-Forwarded-For',
    'a b',
    'x:y',
    ''.padEnd(101, 'x'),
  ])('refuses to set the header %j', (name) => {
    expect(found(http({ headers: [{ name, value: { secret: 'env:X' } }] }))).toEqual([
      'server_header upstream.headers.0.name',
    ]);
  });
  test('sets Authorization and X-Api-Key from references', () => {
    const headers = ['Authorization', 'X-Api-Key'].map((name) => ({ name, value: { secret: 'env:X' } }));
    expect(found(http({ headers }))).toEqual([]);
  });
  test.each(['npx', './x', 'sh -c x', ''])('refuses the program %j', (program) => {
    const floating = program === 'npx' ? ['server_floating upstream.command.0'] : [];
    const all = ['server_command upstream.command.0', ...floating];
    expect(found(stdio({ command: [program] })).toSorted()).toEqual(all);
  });
});

test('an owner of blanks is none', () => {
  expect(checkServer({ ...http({}), owner: '  ' })).toEqual([
    { code: 'server_owner', field: 'owner', message: 'name the person or group who answers for this server' },
  ]);
});
