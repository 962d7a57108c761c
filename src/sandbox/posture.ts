/**
 * What is really in force on this host: two specifications that look around inside the sandbox, the proof that what they
 * saw is isolation, and the words for the report. Nothing here is taken from documentation.
 */
import { readlinkSync } from 'node:fs';
import type { Posture, SandboxSpec } from './backend.ts';
import { NOBODY } from './host-user.ts';

const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts'].map((kind) => `/proc/self/ns/${kind}`);
/** These show from inside what is really in force. */
const look = (...argv: string[]): SandboxSpec => ({
  name: 'probe',
  argv,
  env: {},
  mounts: [],
  network: 'none',
  limits: { memoryMb: 256, processes: 16, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 },
});
export const STATUS_SPEC = look('/usr/bin/cat', '/proc/self/status');
export const NAMESPACE_SPEC = look('/usr/bin/readlink', ...NAMESPACES);

/** @throws Error when what runs inside does not stand as it should: then the program found is not the sandbox we know. */
export function prove(status: string, namespaces: string): void {
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? '';
  const capabilities = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].filter((name) => !/^0+$/.test(field(name)));
  if (capabilities.length > 0) throw new Error(`a process inside keeps capabilities (${capabilities.join(', ')})`);
  if (field('NoNewPrivs') !== '1') throw new Error('a process inside may gain privileges');
  if (field('Uid').split('\t').includes('0')) throw new Error('a process inside is root');
  const inside = namespaces.trim().split('\n');
  const shared = NAMESPACES.filter((path, i) => !inside[i]?.includes(':[') || inside[i] === readlinkSync(path));
  if (shared.length > 0) throw new Error(`a process inside shares ${shared.join(', ')} with the host`);
}

export function posture(version: string, root: boolean, ownUids: boolean): Posture {
  return {
    backend: 'bubblewrap',
    version,
    hostUser: root ? 'dropped' : 'same',
    memoryLimit: 'rlimit+watchdog',
    processLimit: 'rlimit',
    cpuLimit: 'rlimit',
    systemCalls: 'unfiltered',
    notes: [
      root
        ? ownUids
          ? 'Each server runs as a host user of its own, without capabilities.'
          : `All servers run as host user ${NOBODY}: this host has no range of ids for one user per server.`
        : 'Servers run as the user of the gateway, inside a user namespace without capabilities; further user namespaces are refused.',
      'Memory is measured twice a second and a server above its limit is killed; a sudden burst can exceed it in between.',
      `System calls are not filtered yet${root ? '; a server may create a user namespace of its own, in which the kernel offers it more interfaces' : ''}.`,
      'Network is all or nothing per server; destinations are not filtered yet.',
    ],
  };
}
