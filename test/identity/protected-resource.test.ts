import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ResourceFacts,
  challenge401,
  challenge403,
  metadataPath,
  metadataUrl,
  resourceMetadata,
} from '../../src/identity/protected-resource.ts';

const RESOURCE = 'https://gw.example/mcp/default/github';
const METADATA = 'https://gw.example/.well-known/oauth-protected-resource/mcp/default/github';
const facts: ResourceFacts = {
  resource: RESOURCE,
  name: 'GitHub',
  authorizationServers: ['https://as.example'],
  scopesSupported: ['github:read'],
  scopes: [
    { scope: 'github:read', description: 'Read repositories' },
    { scope: 'github:write', description: 'Change repositories', risk: 'write' },
  ],
};

describe('AN-02: metadata', () => {
  test('AN-02: says exactly what clients need', () => {
    expect(resourceMetadata(facts)).toEqual({
      resource: RESOURCE,
      resource_name: 'GitHub',
      authorization_servers: ['https://as.example'],
      scopes_supported: ['github:read'],
      bearer_methods_supported: ['header'],
      remit_scopes: [
        { scope: 'github:read', description: 'Read repositories' },
        { scope: 'github:write', description: 'Change repositories', risk: 'write' },
      ],
    });
    expect(resourceMetadata({ ...facts, documentation: 'https://docs.example' })).toMatchObject({
      resource_documentation: 'https://docs.example',
    });
  });

  test.each<[string, Partial<ResourceFacts>, string]>([
    ['no authorization server', { authorizationServers: [] }, 'name at least one authorization server'],
    [
      'offline_access',
      { scopesSupported: ['offline_access'] },
      '"offline_access" must not be advertised by a resource',
    ],
    ['a wildcard', { scopes: [{ scope: 'github:*', description: '' }] }, '"github:*" must not be advertised'],
    ['a scope with a space', { scopesSupported: ['a b'] }, '"a b" is not a scope'],
    ['a fragment', { resource: `${RESOURCE}#x` }, 'the resource has a query, a fragment or user information'],
    ['a query', { resource: `${RESOURCE}?x` }, 'the resource has a query, a fragment or user information'],
    ['user information', { resource: 'https://u@gw.example/' }, 'the resource has a query, a fragment'],
    ['upper case in the host', { resource: 'https://GW.example/mcp' }, 'write the resource as https://gw.example/mcp'],
    ['a default port', { resource: 'https://gw.example:443/mcp' }, 'write the resource as https://gw.example/mcp'],
    ['dots in the path', { resource: 'https://gw.example/a/../mcp' }, 'write the resource as https://gw.example/mcp'],
    ['another scheme', { resource: 'ftp://gw.example/' }, 'the resource is not an http(s) URL'],
  ])('refuses %s', (_name, change, message) => {
    expect(() => resourceMetadata({ ...facts, ...change })).toThrow(`protected resource metadata: ${message}`);
  });

  test.each([
    ['/mcp/default/github', '/.well-known/oauth-protected-resource/mcp/default/github'],
    ['/mcp/default', '/.well-known/oauth-protected-resource/mcp/default'],
    ['/', '/.well-known/oauth-protected-resource'],
    ['', '/.well-known/oauth-protected-resource'],
  ])('AN-02: the metadata of %j lies at %s', (path, expected) => {
    expect(metadataPath(path)).toBe(expected);
  });

  test.each([
    [RESOURCE, METADATA],
    ['https://gw.example', 'https://gw.example/.well-known/oauth-protected-resource'],
    ['http://127.0.0.1:8080/mcp/a', 'http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp/a'],
  ])('the metadata of %s lies at %s', (resource, expected) => {
    expect(metadataUrl(resource)).toBe(expected);
  });
});

describe('challenges', () => {
  test('AN-01: without credentials it names no error', () => {
    expect(challenge401({ metadataUrl: METADATA, scope: 'a b', presented: false })).toBe(
      `Bearer resource_metadata="${METADATA}", scope="a b"`,
    );
    // Not even when somebody passes a problem along.
    expect(challenge401({ metadataUrl: METADATA, scope: '', presented: false, problem: 'expired' })).toBe(
      `Bearer resource_metadata="${METADATA}"`,
    );
  });

  test('AN-01: with a bad token it says invalid_token, so that clients refresh', () => {
    expect(challenge401({ metadataUrl: METADATA, scope: 'a', presented: true, problem: 'expired' })).toBe(
      `Bearer error="invalid_token", error_description="The access token expired", resource_metadata="${METADATA}", scope="a"`,
    );
    expect(challenge401({ metadataUrl: METADATA, scope: '', presented: true })).toBe(
      `Bearer error="invalid_token", error_description="The access token is not valid", resource_metadata="${METADATA}"`,
    );
  });

  test('AN-06: more scope is asked for with all scopes of the operation', () => {
    expect(challenge403({ metadataUrl: METADATA, scopes: ['a', 'b'], description: 'More is needed' })).toBe(
      `Bearer error="insufficient_scope", scope="a b", resource_metadata="${METADATA}", error_description="More is needed"`,
    );
  });

  test('no value ends its quotes or the header', () => {
    const hostile = 'x", error="none"\r\nSet-Cookie: a=b\\"ü\u0000';
    expect(challenge403({ metadataUrl: METADATA, scopes: ['a'], description: hostile })).toBe(
      `Bearer error="insufficient_scope", scope="a", resource_metadata="${METADATA}", error_description="x_, error=_none___Set-Cookie: a=b____"`,
    );
    const shape = /^Bearer [a-z_]+="[\x20\x21\x23-\x5B\x5D-\x7E]*"(?:, [a-z_]+="[\x20\x21\x23-\x5B\x5D-\x7E]*")*$/;
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.boolean(), (text, scope, presented) => {
        expect(challenge401({ metadataUrl: text, scope, presented })).toMatch(shape);
        expect(challenge403({ metadataUrl: METADATA, scopes: [scope], description: text })).toMatch(shape);
      }),
      { seed: 20_260_105, numRuns: 300 },
    );
  });
});
