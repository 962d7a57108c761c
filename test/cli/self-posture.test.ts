/** EX-06: what the gateway itself is, as facts and as a whole process; the container that the documents describe is test/journeys/container.test.ts. */
import { spawnSync } from 'node:child_process';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { forget, gatherSelf, judgeSelf, namedVariables, type SelfFacts } from '../../src/cli/self-posture.ts';
import { startIssuer } from '../support/issuer.ts';
import { endAll, temporaryFolder } from '../support/processes.ts';
import { gatewayNode, tokensOf } from '../journeys/node.ts';

vi.setConfig({ testTimeout: 120_000 });
afterEach(endAll);

const GOOD: SelfFacts = {
  uid: 10_001,
  capabilities: '0000000000000000',
  rootOptions: ['ro', 'relatime'],
  codeWritable: false,
  variables: ['PATH', 'HOME', 'REMIT_SECRET_GITHUB', 'AWS_REGION'],
  files: [],
};
const judge = (more: Partial<SelfFacts> = {}, named: readonly string[] = []) =>
  judgeSelf({ ...GOOD, ...more }, 'REMIT_SECRET_', new Set(named));

describe('EX-06: what is said of the gateway', () => {
  test('nothing, where it is as it should be', () => {
    expect(judge()).toEqual({
      shown: {
        user: 'not root',
        rootFileSystem: 'read-only',
        code: 'read-only',
        ambientVariables: [],
        ambientFiles: [],
      },
      warnings: [],
      remove: [],
    });
  });

  test.each<readonly [string, Partial<SelfFacts>, RegExp]>([
    ['root', { uid: 0 }, /runs as root/],
    ['capabilities', { capabilities: '0000000000000400' }, /has capabilities of root/],
    ['a writable root', { rootOptions: ['rw'] }, /root file system can be written/],
    ['a program it may change', { codeWritable: true }, /can change the program/],
    ['a variable of a cloud', { variables: ['AWS_SECRET_ACCESS_KEY'] }, /taken out of it: AWS_SECRET_ACCESS_KEY/],
    ['a file of a cloud', { files: ['/x/.aws/credentials'] }, /can be read: \/x\/\.aws\/credentials/],
  ])('%s', (_what, facts, warning) => {
    const { warnings } = judge(facts);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(warning);
  });
});

test.each([
  ['AWS_ACCESS_KEY_ID', true],
  ['AWS_CONTAINER_CREDENTIALS_FULL_URI', true],
  ['GOOGLE_APPLICATION_CREDENTIALS', true],
  ['AZURE_CLIENT_SECRET', true],
  ['IDENTITY_HEADER', true],
  ['CLOUDSDK_AUTH_ACCESS_TOKEN', true],
  ['KUBECONFIG', true],
  ['GITHUB_TOKEN', true],
  ['GH_TOKEN', true],
  ['GH_ENTERPRISE_TOKEN', true],
  ['GITLAB_TOKEN', true],
  ['CI_JOB_TOKEN', true],
  ['CI_REGISTRY_PASSWORD', true],
  ['ACTIONS_ID_TOKEN_REQUEST_TOKEN', true],
  ['NPM_TOKEN', true],
  ['NODE_AUTH_TOKEN', true],
  ['npm_config_//registry.example/:_authToken', true],
  ['NPM_CONFIG__AUTH', true],
  ['CARGO_REGISTRIES_COMPANY_TOKEN', true],
  ['TWINE_PASSWORD', true],
  ['SSH_AUTH_SOCK', true],
  ['DOCKER_AUTH_CONFIG', true],
  ['TF_TOKEN_app_terraform_io', true],
  ['OPENAI_API_KEY', true],
  ['GITHUB_REPOSITORY', false],
  ['CI', false],
  ['CI_JOB_ID', false],
  ['npm_config_registry', false],
  ['DOCKER_HOST', false],
  ['SSH_CONNECTION', false],
  ['PGPASSWORD', false],
  ['OTEL_EXPORTER_OTLP_HEADERS', false],
  ['MY_GITHUB_TOKEN_OLD', false],
  ['AWS_DEFAULT_REGION', false],
  ['GOOGLE_CLOUD_PROJECT', false],
  ['AWS_CA_BUNDLE', false],
  ['CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE', false],
  ['PATH', false],
  ['LAWS_OF_NATURE', false],
] as const)('EX-06: %s is ambient: %s', (name, ambient) => {
  expect(judge({ variables: [name] }).remove).toEqual(ambient ? [name] : []);
});

test('EX-06: what the operator named as a secret stays: by the prefix of records, or in the configuration', () => {
  const config = {
    store: { url: { secret: 'env:AWS_DATABASE_URL' } },
    issuers: [{ a: [{ secret: 'file:/x' }] }],
    notify: { targets: [{ token: { secret: 'env:SLACK_BOT_TOKEN' } }] },
  };
  expect([...namedVariables(config)]).toEqual(['AWS_DATABASE_URL', 'SLACK_BOT_TOKEN']);
  const variables = ['AWS_DATABASE_URL', 'AWS_TOKEN_OF_A_SERVER', 'AWS_SECRET_ACCESS_KEY', 'SLACK_BOT_TOKEN'];
  expect(judgeSelf({ ...GOOD, variables }, 'AWS_TOKEN_', namedVariables(config)).remove).toEqual([
    'AWS_SECRET_ACCESS_KEY',
  ]);
});

const childSees = (env: NodeJS.ProcessEnv): string => spawnSync('/usr/bin/env', [], { env }).stdout.toString();

test('EX-06: a program that the gateway starts finds no credential of a cloud', () => {
  const env = { PATH: '/usr/bin', AWS_SECRET_ACCESS_KEY: 'canary' };
  forget(env, judgeSelf(gatherSelf(env), 'REMIT_SECRET_', new Set()).remove);
  expect(childSees(env)).toBe('PATH=/usr/bin\n');
});

test('EX-06: without that, it finds it (vulnerable twin)', () => {
  expect(childSees({ PATH: '/usr/bin', AWS_SECRET_ACCESS_KEY: 'canary' })).toContain('canary');
});

test('EX-06: a process says what it is, in its log and in the status, and has forgotten what lay around', async () => {
  const issuer = await startIssuer();
  try {
    const node = await gatewayNode(temporaryFolder(), tokensOf(issuer));
    const { started } = await node.start({ env: { AWS_SECRET_ACCESS_KEY: 'canary', GITHUB_TOKEN: 'canary' } });
    const { posture } = (await node.api('ada', 'GET', '/status')).body as {
      posture: { self: Record<string, unknown> };
    };
    expect(posture.self).toMatchObject({
      user: process.getuid?.() === 0 ? 'root' : 'not root',
      ambientVariables: ['AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN'],
    });
    expect(started.err()).toContain('taken out of it: AWS_SECRET_ACCESS_KEY, GITHUB_TOKEN');
    if (process.getuid?.() === 0) expect(started.err()).toContain('the gateway runs as root');
    expect(started.err() + started.out()).not.toContain('canary');
    await started.stop();
  } finally {
    await issuer.close();
  }
});
