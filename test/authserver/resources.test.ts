/** Resources learnt from gateways: only trusted origins, only documents that say what they must. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalResource, metadataUrl, readMetadata, resourceDirectory } from '../../src/authserver/resources.ts';
import type { FetchJson } from '../../src/authserver/resources.ts';
import { SCOPES, fakeGateway } from './fixture.ts';
import type { FakeGateway } from './fixture.ts';

const ISSUER = 'https://as.example';
const RESOURCE = 'https://gw.example/mcp/default/files';
const DOCUMENT = {
  resource: RESOURCE,
  authorization_servers: [ISSUER],
  scopes_supported: ['files:read', 'ghost'],
  remit_scopes: SCOPES,
  resource_name: 'Files',
};

describe('metadata', () => {
  test('gives name, default scopes and every offered scope with its words', () => {
    const read = readMetadata({ ...DOCUMENT, future_member: {} }, RESOURCE, ISSUER);
    expect(read.ok && { ...read.value, offered: [...read.value.offered.values()] }).toEqual({
      resource: RESOURCE,
      name: 'Files',
      defaultScopes: ['files:read'], // `ghost` has no entry in remit_scopes
      offered: [
        { scope: 'files:read', description: 'Read files in the sample folder', risk: 'read' },
        { scope: 'files:write', description: 'Change files in the sample folder', risk: 'write' },
        { scope: 'files:exec', description: 'Run programs', risk: null },
      ],
    });
  });

  test('without remit_scopes offers scopes_supported and no more', () => {
    const read = readMetadata({ ...DOCUMENT, remit_scopes: undefined }, RESOURCE, ISSUER);
    expect(read.ok && [...read.value.offered.keys()]).toEqual(['files:read', 'ghost']);
  });

  test.for([
    ['another resource', { resource: `${RESOURCE}/` }, 'mismatch'],
    ['the resource in other case', { resource: RESOURCE.toUpperCase() }, 'mismatch'],
    ['another authorization server', { authorization_servers: ['https://as.example.evil'] }, 'mismatch'],
    ['our issuer with a slash', { authorization_servers: [`${ISSUER}/`] }, 'mismatch'],
    ['no authorization server', { authorization_servers: [] }, 'unreachable'],
    ['a scope with a space', { remit_scopes: [{ scope: 'a b', description: '' }] }, 'unreachable'],
    ['a scope with a quote', { scopes_supported: ['a"b'] }, 'unreachable'],
  ] as const)('with %s is refused', ([, change, reason]) => {
    expect(readMetadata({ ...DOCUMENT, ...change }, RESOURCE, ISSUER)).toEqual({ ok: false, error: { reason } });
  });

  test('with a risk nobody has a word for is read; the risk counts as not stated', () => {
    const read = readMetadata(
      { ...DOCUMENT, remit_scopes: [{ scope: 'a', description: 'A', risk: 'fine' }] },
      RESOURCE,
      ISSUER,
    );
    expect(read.ok && read.value.offered.get('a')).toEqual({ scope: 'a', description: 'A', risk: null });
  });

  test('of any shape is read or refused, never thrown over', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (document) => {
        expect(readMetadata(document, RESOURCE, ISSUER).ok).toBe(false);
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});

describe('the resource parameter', () => {
  test.for([
    [RESOURCE, 'https://gw.example/.well-known/oauth-protected-resource/mcp/default/files'],
    ['https://gw.example', 'https://gw.example/.well-known/oauth-protected-resource'],
    ['https://gw.example/', 'https://gw.example/.well-known/oauth-protected-resource'],
    ['http://127.0.0.1:8080/api/v1', 'http://127.0.0.1:8080/.well-known/oauth-protected-resource/api/v1'],
  ] as const)('%s leads to %s', ([resource, expected]) => {
    const url = canonicalResource(resource);
    expect(url && metadataUrl(url)).toBe(expected);
  });

  test.for([
    [
      '',
      'mcp/files',
      'ftp://gw.example/x',
      'https://gw.example/x?y',
      'https://gw.example/x?',
      'https://gw.example/x#',
      'https://gw.example/a/../b',
    ],
    [
      'HTTPS://gw.example/x',
      'https://GW.example/x',
      'https://gw.example:443/x',
      'https://gw.example/%2e%2e/x',
      ' https://gw.example/x',
      'https://gw.example\\x',
    ],
    [
      'https://user@gw.example/x/../y',
      `https://gw.example/${'x'.repeat(2_000)}`,
      'https://gw.example/\u0000',
      'javascript:alert(1)',
    ],
  ])('has one spelling; all others are refused', (spellings) => {
    for (const spelling of spellings) expect([spelling, canonicalResource(spelling)]).toEqual([spelling, null]);
  });

  test('is either refused or spelt exactly as the URL that is fetched', () => {
    fc.assert(
      fc.property(fc.oneof(fc.webUrl({ withFragments: true, withQueryParameters: true }), fc.string()), (text) => {
        const url = canonicalResource(text);
        if (url !== null) expect([url.href, url.origin]).toContain(text);
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe('the directory', () => {
  let gateway: FakeGateway;
  beforeAll(async () => {
    gateway = await fakeGateway('/mcp/default/files');
  });
  afterAll(() => gateway.stop());
  const good = (): Record<string, unknown> => ({ ...DOCUMENT, resource: gateway.resource });

  test('asks the gateway once within the cache time, and again after it', async () => {
    gateway.document = good();
    gateway.requests.length = 0;
    const directory = resourceDirectory({
      issuer: ISSUER,
      gateways: [{ origin: gateway.origin, allowedNetworks: [] }],
    });
    const answers = await Promise.all(Array.from({ length: 10 }, () => directory.find(gateway.resource)));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(gateway.requests).toEqual(['/.well-known/oauth-protected-resource/mcp/default/files']);
  });

  test('never contacts an origin that is not trusted', async () => {
    gateway.requests.length = 0;
    const directory = resourceDirectory({
      issuer: ISSUER,
      gateways: [{ origin: 'http://127.0.0.1:9', allowedNetworks: [] }],
    });
    expect(await directory.find(gateway.resource)).toEqual({ ok: false, error: { reason: 'not_trusted' } });
    expect(gateway.requests).toEqual([]);
  });

  test('tells a resource that does not exist from a gateway that does not answer', async () => {
    const directory = resourceDirectory({
      issuer: ISSUER,
      gateways: [{ origin: gateway.origin, allowedNetworks: [] }],
    });
    expect(await directory.find(`${gateway.origin}/mcp/default/ghost`)).toEqual({
      ok: false,
      error: { reason: 'unknown' },
    });
    gateway.status = 500;
    expect(await directory.find(gateway.resource)).toEqual({ ok: false, error: { reason: 'unreachable' } });
    gateway.status = 200;
  });

  test('AN-15: a trusted gateway by name that resolves to a private address is not dialled unless its network is allowed', async () => {
    const rules: unknown[] = [];
    const fetchJson: FetchJson = async (_url, options) => {
      rules.push(options.rule);
      return { ...DOCUMENT, resource: 'https://gw.internal/mcp' };
    };
    const find = (allowedNetworks: string[]) =>
      resourceDirectory({
        issuer: ISSUER,
        gateways: [{ origin: 'https://gw.internal', allowedNetworks }],
        fetchJson,
      }).find('https://gw.internal/mcp');
    await find([]);
    await find(['10.1.0.0/16']);
    expect(rules).toEqual([
      { allowedNetworks: [], requireHttps: true },
      { allowedNetworks: ['10.1.0.0/16'], requireHttps: true },
    ]);
  });
});
