/** The guide's example is a record, and does what the guide says. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { Server, StdioUpstream } from '../../../src/inventory/records.ts';
import { checkServer } from '../../../src/inventory/servers.ts';
import { egressRules } from '../../../src/upstream/egress/rules.ts';
import { REPOSITORY } from '../../support/upstreams/open.ts';

const guide = readFileSync(join(REPOSITORY, 'docs/guides/egress.md'), 'utf8');
const [, example = ''] = /```yaml\n([\s\S]*?)```/.exec(guide) ?? [];
const upstream = (parse(example) as { upstream: object }).upstream;

test('the example of the guide is a record without a problem', () => {
  const base = {
    title: 'X',
    owner: 'x',
    purpose: 'x',
    environment: 'evaluation',
    dataClasses: ['public'],
    state: 'draft',
  };
  expect(checkServer(Server.parse({ ...base, upstream }))).toEqual([]);
});

test('its rules do what the guide says of them', () => {
  const rules = egressRules(StdioUpstream.parse(upstream).egress);
  expect(rules.tls('login.example.com', 443)).toBe('open');
  expect(rules.tls('api.example.com', 443)).toBe('read');
  expect(rules.plain('mirror.internal.example.com', 8080)).toBe(true);
  const api = { scheme: 'https', host: 'api.example.com', port: 443 } as const;
  expect(['/v2/tickets', '/v2/tickets/7', '/v2/tickets-all'].map((path) => rules.refusal(api, 'GET', path))).toEqual([
    null,
    null,
    'path',
  ]);
});

test.each([
  [{ egress: [{ host: '0x7f.1' }] }, 'server_egress upstream.egress.0.host'],
  [{ network: 'host', egress: [{ host: 'a.example' }] }, 'server_egress upstream.egress'],
  [{ egressNetworks: ['10.0.0.0/8', '0.0.0.0/0'] }, 'server_network upstream.egressNetworks.1'],
])('a record with %j is refused where it is written', (more, problem) => {
  const base = {
    title: 'X',
    owner: 'x',
    purpose: 'x',
    environment: 'evaluation',
    dataClasses: ['public'],
    state: 'draft',
  };
  const server = Server.parse({ ...base, upstream: { ...upstream, egress: [], egressNetworks: [], ...more } });
  expect(checkServer(server).map(({ code, field }) => `${code} ${field}`)).toEqual([problem]);
});
