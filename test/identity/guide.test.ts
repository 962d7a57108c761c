/** The configurations of docs/guides/authorization-servers.md are what they say: they load, and the verifier takes them. And what does not load. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import { loadConfig, unsafeKeysInForce } from '../../src/cli/config.ts';
import type { Config, ConfigProblem } from '../../src/cli/config.ts';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import { PROFILES, issuerProblems } from '../../src/identity/issuer-rule.ts';
import { clock, fetchOnLoopback } from './rig.ts';

const GUIDES = join(import.meta.dirname, '../../docs/guides');
const FILES = readdirSync(join(GUIDES, 'issuers'));
const ENV = { REMIT_INTROSPECTION_SECRET: 'x', GOOGLE_SECRET: 'x' };

const dir = mkdtempSync(join(tmpdir(), 'remit-issuers-'));
afterAll(() => rmSync(dir, { recursive: true }));

function load(path: string): Config {
  const loaded = loadConfig(path, ENV);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.error));
  return loaded.value;
}

describe.each(FILES)('%s', (file) => {
  const config = load(join(GUIDES, 'issuers', file));

  test('loads without a relaxed check, and the verifier takes its issuers', () => {
    expect(unsafeKeysInForce(config)).toEqual([]);
    expect(config.issuers.length).toBeGreaterThan(0);
    const issuers = config.issuers.map(({ introspection, ...issuer }) => ({
      ...issuer,
      ...(introspection && { introspection: { ...introspection, clientSecret: () => Promise.resolve('x') } }),
    }));
    const postForm = (): never => {
      throw new Error('nobody asks');
    };
    const verifier = createTokenVerifier({ issuers, fetchJwks: fetchOnLoopback, postForm, clock });
    expect(verifier.jwksStatus().map(({ issuer }) => issuer)).toEqual(issuers.map(({ issuer }) => issuer));
  });

  test('the guide links to it', () => {
    expect(readFileSync(join(GUIDES, 'authorization-servers.md'), 'utf8')).toContain(`](issuers/${file})`);
  });

  test('what it says to the authorization server is understood there', () => {
    const { authserver } = parse(readFileSync(join(GUIDES, 'issuers', file), 'utf8')) as { authserver?: unknown };
    if (authserver !== undefined) expect(parseAuthServerConfig(authserver)).toBeDefined();
    else expect(config.authserver).toBeUndefined();
  });
});

test('every profile has a file of its own', () => {
  for (const profile of PROFILES) expect(FILES).toContain(`${profile}.yaml`);
});

function problemsOf(text: string): readonly ConfigProblem[] {
  const path = join(dir, 'remit.yaml');
  writeFileSync(path, text);
  const loaded = loadConfig(path, ENV);
  return loaded.ok ? [] : loaded.error;
}

const introspection = (more = ''): string =>
  `    introspection: { url: https://as.example/i, clientId: g, clientSecret: { secret: env:REMIT_INTROSPECTION_SECRET }${more} }\n`;

describe('what does not load, and what to do about it', () => {
  test.each<[string, string, string, string]>([
    ['Google', '    profile: google\n', 'issuers[0].profile', 'remit authserver'],
    ['a type without a test', '    tokenTypes: [JWT]\n', 'issuers[0].accessTokenWhen', 'only access tokens'],
    [
      'one audience for two servers',
      '    audiences:\n      - { resource: https://mcp.example.com/mcp/default/a, audience: api://x }\n      - { resource: https://mcp.example.com/mcp/default/b, audience: api://x }\n',
      'issuers[0].audiences[0].audience',
      'unsafeSharedAudiences',
    ],
    [
      'a resource of somebody else',
      '    audiences: [{ resource: https://other.example/mcp, audience: api://x }]\n',
      'issuers[0].audiences[0].resource',
      'public.publicUrl',
    ],
    [
      'a test that is no test',
      '    aloneWhen: [{ claim: a, equals: b, absent: true }]\n',
      'issuers[0].aloneWhen[0]',
      '',
    ],
    ['a shared-key algorithm', '    algorithms: [HS256]\n', 'issuers[0].algorithms[0]', ''],
    [
      'introspection over http',
      introspection().replace('https://as.example/i', 'http://as.example/i'),
      'issuers[0].introspection.url',
      'https',
    ],
    [
      'a secret written out',
      introspection().replace('env:REMIT_INTROSPECTION_SECRET', 'hunter2'),
      'issuers[0].introspection.clientSecret.secret',
      '',
    ],
    [
      'a secret that is not there',
      introspection().replace('INTROSPECTION', 'ABSENT'),
      'issuers[0].introspection.clientSecret.secret',
      'starting',
    ],
    ['an answer kept for an hour', introspection(', cacheSeconds: 3600'), 'issuers[0].introspection.cacheSeconds', ''],
    [
      'a second issuer to be asked',
      `${introspection()}  - issuer: https://b.example\n${introspection()}`,
      'issuers[1].introspection',
      'one issuer',
    ],
  ])('%s', (_title, lines, key, remedy) => {
    const found = problemsOf(
      `public: { publicUrl: https://mcp.example.com }\nissuers:\n  - issuer: https://as.example\n${lines}`,
    );
    expect(found.map((problem) => problem.key)).toContain(key);
    const problem = found.find((one) => one.key === key)!;
    expect(problem.remedy).toContain(remedy);
    expect(problem.line).not.toBe(null);
  });

  test('a relaxed check of an issuer is reported under its place', () => {
    const path = join(dir, 'unsafe.yaml');
    writeFileSync(path, 'issuers:\n  - issuer: https://as.example\n    unsafeMultipleAudiences: true\n');
    expect(unsafeKeysInForce(load(path))).toEqual(['issuers[0].unsafeMultipleAudiences']);
  });

  test('AN-03: no profile accepts a type that could be an ID token without a test, and none relaxes a check', () => {
    for (const profile of PROFILES) {
      const problems = issuerProblems({ issuer: 'https://as.example', profile });
      expect([profile, problems.length]).toEqual([profile, profile === 'google' ? 1 : 0]);
    }
  });
});
