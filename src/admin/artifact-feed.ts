/**
 * The advisories of the configuration: a file with a list, or a folder of files, read at the start and again when they change (NH-11).
 * What cannot be read at the start leaves nothing to compare with, and whoever enables local servers is told so; a new state that cannot be
 * read, or that says nothing at all, leaves the old one in force, because a feed that was emptied must not make anything safe.
 * Not here: what follows for servers (artifact-known.ts, artifact-watch.ts). Files are of the operator; what stands in them is not trusted.
 */
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as pause } from 'node:timers/promises';
import { advisoryReader, type AdvisoryFeed } from '../inventory/advisories.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { sha256Hex } from '../lib/bytes.ts';
import type { AdminContext } from './context.ts';

/** One text is parsed in one go, and calls wait meanwhile. */
const LIMITS = { fileBytes: 33_554_432, files: 20_000, folderBytes: 268_435_456 } as const;
const FILES_AT_ONCE = 50;

export type FeedState =
  /** The configuration names none. */
  | { readonly kind: 'none' }
  | { readonly kind: 'unreadable'; readonly why: string }
  | {
      readonly kind: 'read';
      readonly feed: AdvisoryFeed;
      /** ms since the epoch. */
      readonly at: number;
      /** Why what lies there now is not what is compared with; null: it is. */
      readonly stale: string | null;
    };

/** What the admin plane knows of packages of local servers. */
export interface Artifacts {
  /** Where `remit artifact install` puts them; absolute. */
  readonly folder: string;
  readonly advisories: () => FeedState;
}

export interface Advisories {
  readonly current: () => FeedState;
  /** Reads again if something changed. Never rejects. */
  look(): Promise<void>;
}

/** Resolves when the first reading is done, with whatever came of it. */
export async function openAdvisories(
  path: string | undefined,
  { clock, log }: Pick<AdminContext, 'clock' | 'log'>,
): Promise<Advisories> {
  let state: FeedState = path === undefined ? { kind: 'none' } : { kind: 'unreadable', why: 'it was not read yet' };
  let seen: string | null = null;

  async function look(): Promise<void> {
    if (path === undefined) return;
    const found = await filesAt(path);
    const signature = found.ok ? found.value.signature : `! ${found.error}`;
    if (signature === seen) return;
    seen = signature;
    const read = found.ok ? await readAll(found.value.files) : found;
    if (read.ok) {
      const feed = read.value;
      state = { kind: 'read', feed, at: clock.now(), stale: null };
      if (feed.bad > 0)
        log.warn(
          { bad: feed.bad, problems: feed.problems.slice(0, 10) },
          'advisories were left out, in part or as a whole',
        );
      return;
    }
    state = state.kind === 'read' ? { ...state, stale: read.error } : { kind: 'unreadable', why: read.error };
    log.warn(
      { why: read.error },
      state.kind === 'read'
        ? 'the new advisories cannot be read; the old ones stay in force'
        : 'the advisories cannot be read: no local server is enabled',
    );
  }
  await look();
  return { current: () => state, look };
}

interface File {
  readonly name: string;
  readonly path: string;
}

async function filesAt(
  path: string,
): Promise<Result<{ readonly files: readonly File[]; readonly signature: string }, string>> {
  try {
    const at = await stat(path);
    const names = at.isDirectory() ? (await readdir(path)).filter((name) => name.endsWith('.json')).toSorted() : null;
    if (names !== null && names.length > LIMITS.files) return err(`it has more than ${LIMITS.files} files`);
    const files = names?.map((name) => ({ name, path: join(path, name) })) ?? [{ name: 'advisories', path }];
    let bytes = 0;
    const marks: string[] = [];
    for (const file of files) {
      const { size, mtimeMs, ino } = file.path === path ? at : await stat(file.path);
      if (size > LIMITS.fileBytes)
        return err(`${file.name} is larger than ${LIMITS.fileBytes} bytes; use a folder of smaller files`);
      bytes += size;
      marks.push(`${JSON.stringify(file.name)} ${size} ${mtimeMs} ${ino}`);
    }
    if (bytes > LIMITS.folderBytes) return err(`it has more than ${LIMITS.folderBytes} bytes`);
    return ok({ files, signature: sha256Hex(marks.join('\n')) });
  } catch (error) {
    return err(`it cannot be opened (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
  }
}

async function readAll(files: readonly File[]): Promise<Result<AdvisoryFeed, string>> {
  const reader = advisoryReader();
  try {
    for (const [index, { name, path }] of files.entries()) {
      reader.add(name, await readFile(path, 'utf8'));
      if (index % FILES_AT_ONCE === 0) await pause();
    }
  } catch (error) {
    return err(`a file of it cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
  }
  const feed = reader.feed();
  if (feed.entries > 0) return ok(feed);
  return err(feed.bad > 0 ? 'there is no advisory in the OSV format in it' : 'there is no advisory in it');
}
