/** The guide's examples load, and its tables name what there is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import { PROFILE } from '../../src/authserver/federation/profiles.ts';
import { selfSigned } from '../support/certificate.ts';

const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/authserver.md'), 'utf8');
const section = guide.slice(
  guide.indexOf('## Sign-in at your identity provider'),
  guide.indexOf('## What a client does'),
);
const examples = [...section.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text);

test.each(examples.map((text, at) => [at + 1, text] as const))('example %i is a valid configuration', (_at, text) => {
  const { cert } = selfSigned('idp.example', 'rsa');
  const whole = text.replace(
    / *-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n/,
    cert.replaceAll(/^(?=.)/gm, ' '.repeat(10)),
  );
  const { authserver } = parse(whole) as { authserver: unknown };
  expect(parseAuthServerConfig(authserver).identityProviders.length).toBeGreaterThan(0);
});

test('there is an example of each protocol', () => {
  expect(examples.join('')).toContain('protocol: oidc');
  expect(examples.join('')).toContain('protocol: saml');
});

test('the table of profiles is the table of the code', () => {
  for (const [name, profile] of Object.entries(PROFILE)) {
    const row = new RegExp(`^\\| \`${name}\` \\|(.*)\\|$`, 'm').exec(section)?.[1] ?? '';
    const [facts = '', fresh = ''] = row.split('|');
    expect([name, facts]).toEqual([name, expect.stringContaining(`\`${profile.subjectClaim}\``)]);
    if (profile.tenantClaim !== null)
      expect([name, facts]).toEqual([name, expect.stringContaining(`\`${profile.tenantClaim}\``)]);
    const words = { max_age: '`max_age`', prompt: '`prompt=login`', none: 'none' }[profile.freshness];
    expect([name, fresh]).toEqual([name, expect.stringContaining(words)]);
    expect([name, fresh.includes('acr_values')]).toEqual([name, profile.acrValues]);
  }
  expect([...section.matchAll(/^\| `(generic|entra|okta|keycloak|auth0|google|workos)`/gm)]).toHaveLength(
    Object.keys(PROFILE).length,
  );
});
