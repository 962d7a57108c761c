/**
 * The two sample servers of `remit up`: the published filesystem server over stdio in the sandbox, on a folder of its own,
 * and the published "everything" server over Streamable HTTP on loopback. What they offer was reviewed: samples/*.review.yaml holds, by key, the
 * digest of each definition that was read, its risk class, scope and why. What says anything else today stays unreviewed and unusable.
 */
import { existsSync, lchownSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { approve } from '../integrity/review.ts';
import { Approved, ToolRecord, toolId } from '../integrity/records.ts';
import { Server } from '../inventory/records.ts';
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import { systemClock } from '../lib/clock.ts';
import { artifactIdentity } from '../sandbox/artifact-digest.ts';
import { packageProgram } from '../sandbox/artifact.ts';
import { bubblewrapBackend } from '../sandbox/bubblewrap.ts';
import { NOBODY, hasServerUids, serverUid } from '../sandbox/host-user.ts';
import { startLocalHttp } from '../sandbox/local-http.ts';
import type { Write } from '../store/state.ts';
import type { RunningGateway } from './serve.ts';

const FILES = '@modelcontextprotocol/server-filesystem';
const EVERYTHING = '@modelcontextprotocol/server-everything';
/** Somebody looks again after three months. */
const REVIEW_AFTER_MS = 90 * 86_400_000;

const REVIEWS = new URL('../../samples/', import.meta.url);

const Reviews = z.record(z.string(), Approved.pick({ digest: true, risk: true, scope: true, justification: true }));

export interface SampleServer {
  readonly id: string;
  readonly title: string;
  readonly url: string;
  /** Approved ones. */
  readonly tools: number;
  /** Approved prompts, resources, templates. */
  readonly others: number;
  readonly problem: string | null;
}

/** The sample folder, with something to read. What a person put there stays. */
export function sampleFiles(dir: string): string {
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const welcome = join(dir, 'welcome.txt');
  // ATTACKER-CONTROLLED: from the second start on, the folder is what the server made of it. No link in it is followed.
  if (lstatSync(welcome, { throwIfNoEntry: false }) === undefined) {
    writeFileSync(
      welcome,
      'Welcome to Remit.\nThis folder is all that the sample filesystem server can see, and it sees it from inside a sandbox.\n',
      { flag: 'wx' },
    );
  }
  // A gateway that runs as root drops the server to a user of its own, who must own what it may write.
  if (process.getuid?.() === 0) {
    const uid = hasServerUids() ? serverUid('files') : NOBODY;
    lchownSync(dir, uid, uid);
    lchownSync(welcome, uid, uid);
  }
  return dir;
}

export async function sampleServers(facts: {
  readonly filesDir: string;
  readonly everythingUrl: string;
  readonly owner: string;
}): Promise<ReadonlyMap<string, JsonObject>> {
  const shared = {
    owner: facts.owner,
    environment: 'evaluation',
    dataClasses: ['internal'],
    state: 'enabled',
    riskTier: 'low',
    revocation: 'Nothing to take away elsewhere: it runs on this machine, isolated, and holds no credential.',
    reviewBy: systemClock.now() + REVIEW_AFTER_MS,
  } as const;
  const files = Server.parse({
    ...shared,
    title: 'Sample files',
    purpose: 'Reads and writes the sample folder of this installation, to try Remit with.',
    ...(await sourceOf(FILES, 'stdio')),
    upstream: {
      transport: 'stdio',
      command: ['node', FILES, '/files'],
      mounts: [{ from: facts.filesDir, to: '/files', mode: 'write' }],
    },
  });
  const everything = Server.parse({
    ...shared,
    title: 'Everything (protocol sampler)',
    purpose: 'Shows what MCP tools can answer, to try clients with.',
    ...(await sourceOf(EVERYTHING, 'http')),
    upstream: { transport: 'http', url: facts.everythingUrl, allowedNetworks: ['127.0.0.1/32'] },
  });
  return new Map<string, JsonObject>([
    ['files', files],
    ['everything', everything],
  ]);
}

/** Which package it is, as it is installed here; nothing where it is not: such a sample does not run either. */
async function sourceOf(name: string, transport: 'stdio' | 'http'): Promise<{ readonly source?: JsonObject }> {
  const vendor = 'Model Context Protocol project';
  try {
    if (transport === 'stdio') {
      const { digest, version } = await artifactIdentity({ command: ['node', name], mounts: [] });
      return { source: { vendor, package: name, version, digest } };
    }
    const manifest = readFileSync(join(packageProgram(name).modules, name, 'package.json'), 'utf8');
    const { version } = JSON.parse(manifest) as { readonly version: string };
    return { source: { vendor, package: name, version } };
  } catch (error) {
    if (!isFault(error)) throw error;
    return {};
  }
}

/**
 * Looks at each sample server once and approves what was reviewed, where nobody decided otherwise yet.
 * `problems`: servers that are known not to run, and why; they are not looked at.
 */
export async function approveSamples(
  gateway: RunningGateway,
  org: string,
  problems: ReadonlyMap<string, string>,
): Promise<readonly SampleServer[]> {
  const samples = [...gateway.gateway.snapshot().servers.values()].filter(({ id }) => existsSync(reviewFile(id)));
  return Promise.all(
    samples.map(async ({ id, record }) => {
      const base = { id, title: record.title, url: gateway.gateway.listener.resourceUrl(id) };
      const known = problems.get(id);
      if (known !== undefined) return { ...base, tools: 0, others: 0, problem: known };
      try {
        await gateway.gateway.refresh(id);
        await gateway.view.advanceTo(await gateway.state.head());
        await approveReviewed(gateway, org, id);
        const items = [...gateway.gateway.snapshot().servers.get(id)!.tools.values()];
        const approved = items.filter((item) => item.approved !== null);
        const tools = approved.filter(({ kind }) => kind === 'tool').length;
        return { ...base, tools, others: approved.length - tools, problem: null };
      } catch (error) {
        if (!isFault(error)) throw error;
        return { ...base, tools: 0, others: 0, problem: `${error.code}: ${error.message}` };
      }
    }),
  );
}

async function approveReviewed(gateway: RunningGateway, org: string, server: string): Promise<void> {
  const reviews = Reviews.parse(parse(readFileSync(reviewFile(server), 'utf8')));
  const writes: Write[] = [];
  for (const [key, { digest, ...decision }] of Object.entries(reviews)) {
    const entry = gateway.gateway.snapshot().servers.get(server)?.tools.get(key);
    if (!entry || entry.approved || entry.record.observed?.digest !== digest) continue;
    // Once is enough: what somebody withdrew must not come back with the next start.
    if ((await gateway.state.history('tool', org, toolId(server, key))).some(({ body }) => body?.['approved'] != null))
      continue;
    const reviewed = approve(entry.record, {
      ...decision,
      by: 'remit:samples',
      at: systemClock.now(),
      expectedDigest: digest,
    });
    if (reviewed.ok)
      writes.push({
        kind: 'tool',
        org,
        id: toolId(server, key),
        body: ToolRecord.parse(reviewed.value),
        expectedRevision: entry.revision,
      });
  }
  if (writes.length === 0) return;
  const { revision } = await gateway.state.commit({
    actor: 'remit:samples',
    reason: 'reviewed with this release',
    writes,
  });
  await gateway.view.advanceTo(revision);
  await gateway.recordAdmin({ what: 'tools.approved', subject: server, revision, tools: writes.map(({ id }) => id) });
}

const reviewFile = (server: string): URL => new URL(`${server}.review.yaml`, REVIEWS);

/**
 * Starts the published "everything" server on loopback, isolated, bound to 127.0.0.1.
 * EX-09: without isolation it is not started; `problem` says why and what to do, and everything else goes on.
 */
export async function startEverything(
  port: number,
): Promise<{ readonly problem: string | null; close(): Promise<void> }> {
  const command = [EVERYTHING, 'streamableHttp'] as const;
  try {
    const running = await startLocalHttp(bubblewrapBackend(), { name: 'everything', command, port });
    return { problem: null, close: async () => void (await running.stop()) };
  } catch (error) {
    if (!isFault(error)) throw error;
    return { problem: `${error.code}: ${error.message}`, close: () => Promise.resolve() };
  }
}
