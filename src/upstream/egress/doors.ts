/**
 * One proxy for each started process (EX-04), each in a folder of its own that is mounted into that sandbox and no other. The folders lie under one
 * that only the gateway's user may enter, outside of its data (which no sandbox may have a part of); all of them go with the process they are for.
 * CRASH: a killed gateway leaves its folder; the next one on this machine removes what nobody listens in any more.
 */
import { constants } from 'node:fs';
import { access, chmod, lstat, mkdir, mkdtemp, readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { Fault } from '../../lib/fault.ts';
import type { EgressRule } from '../target.ts';
import { type ProxySetting, type RefusedEgress, startProxy } from './proxy.ts';
import { inTurn, resolveBySystem } from './reach.ts';

export interface EgressDoor {
  /** To be mounted read-only: the socket `s`, and with an authority `ca.pem` and `bundle.pem`. */
  readonly folder: string;
  /** TLS ends at the gateway for some host: the server must trust `ca.pem`. */
  readonly authority: boolean;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface EgressDoors {
  /** @throws Fault `egress_rule`, `dial_rule`, `egress_folder` */
  open(request: {
    readonly serverId: string;
    readonly egress: readonly EgressRule[];
    readonly egressNetworks: readonly string[];
  }): Promise<EgressDoor>;
  /** Whether a folder of this machine is, holds or lies in the place of the doors: who has that has the ways out of others. */
  touches(folder: string): boolean;
  close(): Promise<void>;
}

export interface DoorsOptions extends Pick<ProxySetting, 'resolve' | 'extraCa' | 'limits'> {
  readonly refused: (serverId: string, what: RefusedEgress) => void;
  /** Default: the system's folder for temporary files. */
  readonly parent?: string;
}

const PREFIX = 'remit-egress-';
/** As mkdtemp makes it. */
const MADE = /^remit-egress-[A-Za-z0-9]{6}$/;
const ALIVE = 'alive';
/** sockaddr_un holds 108 bytes with the NUL at their end. */
const MAX_PATH = 107;
/** A folder whose gateway may just be about to listen is left alone. */
const YOUNG_MS = 600_000;

/** Nothing is made before the first door is opened; leftovers of others are removed at once. */
export async function egressDoors(options: DoorsOptions): Promise<EgressDoors> {
  const parent = await realpath(options.parent ?? tmpdir());
  const place = join(parent, PREFIX);
  await removeLeftovers(parent);
  // Of all sandboxes together one lookup at a time; each of them waits with one at most, so that none comes before the others.
  const resolve = inTurn(options.resolve ?? resolveBySystem);
  let home: Promise<{ readonly folder: string; readonly alive: Server }> | null = null;
  let count = 0;
  let closed = false;
  const open = new Set<EgressDoor>();

  async function made(): Promise<{ readonly folder: string; readonly alive: Server }> {
    const folder = await mkdtemp(place); // mode 0700
    const alive = createServer((socket) => socket.destroy()).unref();
    await new Promise<void>((resolve, reject) => {
      alive.once('error', reject);
      alive.listen(pathFor(folder, ALIVE), resolve);
    });
    return { folder, alive };
  }

  return {
    async open({ serverId, egress, egressNetworks }) {
      if (closed) throw new Fault('egress_folder', 'the gateway is closing');
      const { folder: root } = await (home ??= made());
      const folder = join(root, String(++count));
      const socket = pathFor(folder, 's');
      await mkdir(folder);
      await chmod(folder, 0o755);
      const { extraCa, limits } = options;
      const removed = (): Promise<void> => rm(folder, { recursive: true, force: true });
      try {
        const proxy = await startProxy(socket, {
          rules: egress,
          networks: egressNetworks,
          refused: (what) => options.refused(serverId, what),
          resolve,
          ...(extraCa && { extraCa }),
          ...(limits && { limits }),
        });
        if (proxy.certificate !== null) {
          await writeFile(join(folder, 'ca.pem'), proxy.certificate, { mode: 0o644 });
          const roots = [...getCACertificates('default'), ...getCACertificates('system')];
          await writeFile(join(folder, 'bundle.pem'), [...new Set(roots), proxy.certificate].join('\n'), {
            mode: 0o644,
          });
        }
        let closing: Promise<void> | null = null;
        const door: EgressDoor = {
          folder,
          authority: proxy.certificate !== null,
          close: () =>
            (closing ??= proxy
              .close()
              .then(removed)
              .finally(() => open.delete(door))),
        };
        open.add(door);
        return door;
      } catch (error) {
        await removed();
        throw error;
      }
    },
    touches: (folder) => place.startsWith(folder === '/' ? folder : `${folder}/`) || folder.startsWith(place),
    async close() {
      closed = true;
      await Promise.all([...open].map((door) => door.close()));
      const known = await home?.catch(() => null);
      if (!known) return;
      known.alive.close();
      await rm(known.folder, { recursive: true, force: true });
    },
  };
}

function pathFor(folder: string, name: string): string {
  const path = join(folder, name);
  if (Buffer.byteLength(path) > MAX_PATH)
    throw new Fault(
      'egress_folder',
      `the folder for temporary files (${folder}) has too long a path for a socket; set TMPDIR to a shorter one, for example /tmp`,
    );
  return path;
}

/** ATTACKER-CONTROLLED: anybody may make something of this name in /tmp; only folders of our own user are touched, and no link is followed. */
async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const folder = join(parent, name);
    const stat = MADE.test(name) ? await lstat(folder).catch(() => null) : null;
    if (!stat?.isDirectory() || stat.uid !== process.getuid?.()) continue;
    const alive = join(folder, ALIVE);
    const young = Date.now() - stat.mtimeMs < YOUNG_MS;
    const there = await access(alive, constants.F_OK).then(
      () => true,
      () => false,
    );
    if (there ? await answers(alive) : young) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket
      .once('connect', () => resolve(true))
      .once('error', (error) => resolve(!('code' in error) || error.code !== 'ECONNREFUSED'));
    socket.once('connect', () => socket.destroy());
  });
