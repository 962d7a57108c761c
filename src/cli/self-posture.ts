/**
 * EX-06: what this process could be used for by somebody who takes it over: root, a system that can be changed, credentials that lie around:
 * of clouds, of build systems, of registries, of the shell that started it. Said at every start and in `GET /status`; variables with such credentials are taken out of our environment.
 * Not done here: the metadata service of a cloud, which the guarded dialler refuses; what the kernel keeps in /proc/self/environ, which
 * only this user can read, and no server runs with a view of it.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '../lib/json.ts';

export interface SelfFacts {
  /** Null: the system has no user ids. */
  readonly uid: number | null;
  /** Effective capabilities, hexadecimal; null: not Linux. */
  readonly capabilities: string | null;
  /** Options of the mount at /; null: not Linux. */
  readonly rootOptions: readonly string[] | null;
  /** May this user change the program that runs? */
  readonly codeWritable: boolean;
  readonly variables: readonly string[];
  /** Files with credentials that programs read without being told to. */
  readonly files: readonly string[];
}

export interface SelfPosture {
  readonly shown: JsonObject;
  /** One sentence each, with what to do. */
  readonly warnings: readonly string[];
  /** To be taken out of the environment. */
  readonly remove: readonly string[];
}

const CLOUDS =
  /^(?:AWS|AZURE|ARM|GOOGLE|GCLOUD|CLOUDSDK|GCE|ALIBABA_CLOUD|ALICLOUD|OCI|IBMCLOUD)_|^(?:IDENTITY_ENDPOINT|IDENTITY_HEADER|MSI_ENDPOINT|MSI_SECRET|KUBECONFIG|VAULT_TOKEN|DIGITALOCEAN_ACCESS_TOKEN|HCLOUD_TOKEN)$/;
/** What other tools read without being told to. Not: what a library of ours reads so (PGPASSWORD, OTEL_EXPORTER_OTLP_HEADERS). */
const OTHERS = new RegExp(
  `^(?:${[
    '(?:GITHUB|GH|GITLAB|GITEA|BITBUCKET)_(?:[A-Z]+_)*(?:TOKEN|PAT)',
    'CI_JOB_TOKEN|CI_JOB_JWT(?:_V[12])?|CI_(?:REGISTRY|DEPLOY|DEPENDENCY_PROXY)_PASSWORD',
    'ACTIONS_(?:ID_TOKEN_REQUEST|RUNTIME)_TOKEN|SYSTEM_ACCESSTOKEN|CIRCLE_TOKEN|BUILDKITE_AGENT_ACCESS_TOKEN',
    'NPM_TOKEN|NODE_AUTH_TOKEN|(?:npm_config|NPM_CONFIG)_\\S*_(?:auth|AUTH|password|PASSWORD)\\S*|YARN_NPM_AUTH_(?:TOKEN|IDENT)',
    'PYPI_TOKEN|TWINE_PASSWORD|UV_PUBLISH_(?:TOKEN|PASSWORD)|CARGO_(?:REGISTRY|REGISTRIES_\\w+)_TOKEN|GEM_HOST_API_KEY',
    'SSH_AUTH_SOCK|DOCKER_AUTH_CONFIG|DOCKER_(?:PASSWORD|TOKEN)|DOCKERHUB_(?:PASSWORD|TOKEN)',
    'TF_TOKEN_\\w+|TFE_TOKEN|CONSUL_HTTP_TOKEN|NOMAD_TOKEN|OP_SERVICE_ACCOUNT_TOKEN|OP_CONNECT_TOKEN|OP_SESSION_\\w+|DOPPLER_TOKEN',
    'CLOUDFLARE_API_(?:TOKEN|KEY)|HEROKU_API_KEY|FLY_API_TOKEN|VERCEL_TOKEN|NETLIFY_AUTH_TOKEN|LINODE_TOKEN',
    'SNYK_TOKEN|SENTRY_AUTH_TOKEN|SONAR_TOKEN|CODECOV_TOKEN|SLACK_(?:BOT_|APP_)?TOKEN',
    '(?:OPENAI|ANTHROPIC|GEMINI|MISTRAL|COHERE)_API_KEY|HF_TOKEN|HUGGING_FACE_HUB_TOKEN',
  ].join('|')})$`,
);
/** Where something is and whom to believe, not how to get in. */
const HARMLESS = /_(?:REGION|LOCATION|PROJECT|PAGER|OUTPUT|ZONE|CA_BUNDLE|CA_CERTS_FILE)$/;

const FILES = [
  '/var/run/secrets/kubernetes.io/serviceaccount/token',
  '/var/run/secrets/eks.amazonaws.com/serviceaccount/token',
  '/var/run/secrets/azure/tokens/azure-identity-token',
];
const FILES_AT_HOME = [
  '.aws/credentials',
  '.config/gcloud/application_default_credentials.json',
  '.azure',
  '.kube/config',
];

/** `named`: variables that the operator's configuration reads secrets from; `prefix`: those that server records may name. */
export function judgeSelf(facts: SelfFacts, prefix: string, named: ReadonlySet<string>): SelfPosture {
  const ambient = facts.variables
    .filter((name) => (CLOUDS.test(name) || OTHERS.test(name)) && !HARMLESS.test(name))
    .toSorted();
  const remove = ambient.filter((name) => !name.startsWith(prefix) && !named.has(name));
  const root = facts.uid === 0;
  const readOnly = facts.rootOptions === null ? null : facts.rootOptions.includes('ro');
  const warnings: string[] = [];
  if (root)
    warnings.push(
      'the gateway runs as root: whoever takes it over has this machine; run it as a user of its own (docs/guides/containers.md)',
    );
  else if (facts.capabilities !== null && !/^0*$/.test(facts.capabilities))
    warnings.push('the gateway has capabilities of root; drop them all');
  if (readOnly === false)
    warnings.push(
      'the root file system can be written; mount it read-only, and give the gateway one volume for dataDir',
    );
  if (facts.codeWritable && !root)
    warnings.push('this user can change the program that runs; let it belong to another');
  if (remove.length > 0)
    warnings.push(
      `credentials lay in the environment and were taken out of it: ${remove.join(', ')}; start the gateway without them`,
    );
  if (facts.files.length > 0)
    warnings.push(
      `credentials of a cloud can be read: ${facts.files.join(', ')}; do not mount them (Kubernetes: automountServiceAccountToken: false)`,
    );
  return {
    shown: {
      user: root ? 'root' : 'not root',
      ...(readOnly !== null && { rootFileSystem: readOnly ? 'read-only' : 'writable' }),
      code: facts.codeWritable ? 'writable' : 'read-only',
      ambientVariables: [...remove],
      ambientFiles: [...facts.files],
    },
    warnings,
    remove,
  };
}

export function gatherSelf(env: Readonly<Record<string, string | undefined>>): SelfFacts {
  const status = read('/proc/self/status');
  const rootLine = read('/proc/self/mountinfo')
    ?.split('\n')
    .findLast((line) => line.split(' ')[4] === '/');
  const home = env['HOME'];
  return {
    uid: process.getuid?.() ?? null,
    capabilities: /^CapEff:\s+([0-9a-f]+)$/m.exec(status ?? '')?.[1] ?? null,
    rootOptions: rootLine?.split(' ')[5]?.split(',') ?? null,
    codeWritable: writable(import.meta.dirname),
    variables: Object.keys(env),
    files: [...FILES, ...(home === undefined ? [] : FILES_AT_HOME.map((name) => join(home, name)))].filter((path) =>
      existsSync(path),
    ),
  };
}

/** Every variable that `secret: env:NAME` names, wherever it stands in the configuration. */
export function namedVariables(value: unknown, found = new Set<string>()): ReadonlySet<string> {
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'secret' && typeof inner === 'string' && inner.startsWith('env:'))
      found.add(inner.slice('env:'.length));
    else namedVariables(inner, found);
  }
  return found;
}

/** Takes them out of the environment, for us and for every program that we start. */
export function forget(env: Record<string, string | undefined>, names: readonly string[]): void {
  for (const name of names) delete env[name];
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
