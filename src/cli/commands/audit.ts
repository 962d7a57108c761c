/** `remit audit …`: reading the log through the API, and taking it away as files that verify without us. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { exportLog } from '../../audit/export.ts';
import { parseVkey } from '../../verify/note.ts';
import { runVerify } from '../../verify/command.ts';
import { seg } from '../api.ts';
import {
  apiOf,
  duration,
  group,
  local,
  remote,
  wholeNumber,
  type LocalOptions,
  type RemoteOptions,
} from '../command.ts';
import { CliFailure } from '../failure.ts';
import { systemClock } from '../../lib/clock.ts';
import { isFault } from '../../lib/fault.ts';
import { fields, oneLine, progress, show, table, visible } from '../output.ts';
import { remoteLedger } from '../remote-ledger.ts';

interface Entry {
  readonly kind: string;
  readonly time: string;
  readonly ref?: string;
  readonly actor?: { readonly person: string | null; readonly subject: string; readonly client: string };
  readonly call?: { readonly id: string; readonly server: string | null; readonly tool: string | null };
  readonly decision?: { readonly verdict: string; readonly reason: string | null };
  readonly outcome?: { readonly status: string };
  readonly event?: Readonly<Record<string, unknown>>;
}
interface Indexed {
  readonly index: number;
  readonly entry: Entry;
}
interface Found {
  readonly entries: readonly Indexed[];
  readonly scannedFrom: number;
  readonly size: number;
}
interface Checkpoint {
  readonly log: string;
  readonly size: number;
  readonly note: string;
  readonly verifierKey: string;
}
interface TailOptions extends RemoteOptions {
  readonly lines: number;
  readonly kind?: string;
  readonly all: boolean;
  readonly call?: string;
  readonly ref?: string;
  readonly person?: string;
  readonly server?: string;
  readonly tool?: string;
  readonly since?: number;
}

export function auditCommands(program: Command): void {
  const audit = group(program, 'audit', 'Read, export and verify the audit log', 'remit audit tail --kind denial');

  remote(
    audit,
    'tail',
    'Show the newest entries, oldest of them first',
    'remit audit tail --person person_01k… --since 1h',
  )
    .option('-n, --lines <count>', 'how many', wholeNumber, 20)
    .option('--kind <kind>', 'intent, outcome, call, denial, incident, admin, key, clock or gate')
    .option('--all', 'also what the clock says every few seconds', false)
    .option('--call <id>', 'entries of one call')
    .option('--ref <id>', 'the reference somebody quotes')
    .option('--person <id>', 'directory id or subject')
    .option('--server <server>', 'server id')
    .option('--tool <tool>', 'tool name without the server')
    .option('--since <duration>', 'not older than, for example 30m', duration)
    .action(async (options: TailOptions) => {
      const query = new URLSearchParams({ limit: String(options.lines) });
      for (const key of ['kind', 'call', 'ref', 'person', 'server', 'tool'] as const) {
        const value = options[key];
        if (value !== undefined) query.set(key, value);
      }
      if (!options.all && options.kind === undefined) query.set('without', 'clock');
      if (options.since !== undefined) query.set('since', new Date(systemClock.now() - options.since).toISOString());
      const { body } = await apiOf(options).get<Found>(`/audit/entries?${query.toString()}`);
      show(options, body, (found) =>
        [
          table(
            ['INDEX', 'TIME', 'KIND', 'WHO', 'WHAT', 'RESULT', 'REF'],
            found.entries.map(({ index, entry }) => [
              index,
              moment(entry.time),
              entry.kind,
              entry.actor?.person ?? entry.actor?.subject,
              what(entry),
              result(entry),
              entry.ref ?? (typeof entry.event?.['ref'] === 'string' ? entry.event['ref'] : undefined),
            ]),
            'No entry fits.',
          ),
          ...(found.scannedFrom > 0 && found.entries.length < options.lines
            ? [`Entries before ${found.scannedFrom} were not looked at.`]
            : []),
        ].join('\n'),
      );
    });

  remote(audit, 'show <index>', 'Show one entry', 'remit audit show 1042').action(
    async (index: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Indexed & { text: string }>(`/audit/entries/${seg(index)}`);
      show(options, body, ({ entry }) => visible(JSON.stringify(entry, null, 2)));
    },
  );

  remote(audit, 'call <call>', 'Show the whole story of one call', 'remit audit call call_01k…').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<
        Record<string, unknown> & { entries: ReadonlyArray<{ index: number; kind: string; time: string }> }
      >(`/audit/calls/${seg(id)}`);
      show(options, body, ({ entries, ...chain }) =>
        [
          fields(
            Object.entries(chain).flatMap(([name, value]) =>
              Array.isArray(value) && value.length > 0
                ? value.map((member) => [name, storyText(member)] as const)
                : [[name, storyText(value)] as const],
            ),
          ),
          table(
            ['INDEX', 'KIND', 'TIME'],
            entries.map(({ index, kind, time }) => [index, kind, moment(time)]),
            'No entries.',
          ),
        ].join('\n'),
      );
    },
  );

  remote(
    audit,
    'receipt <index>',
    'Get the receipt of one entry, to verify offline',
    'remit audit receipt 1042 --out call.tlog-proof --entry-out call.json',
  )
    .option('--out <file>', 'write the receipt to a file')
    .option('--entry-out <file>', 'write the exact entry it is about to a file')
    .action(async (index: string, options: RemoteOptions & { out?: string; entryOut?: string }) => {
      const api = apiOf(options);
      const receipt = await api.text(`/audit/entries/${seg(index)}/receipt`);
      const entry =
        options.entryOut === undefined
          ? null
          : (await api.get<{ text: string }>(`/audit/entries/${seg(index)}`)).body.text;
      if (options.out !== undefined) writeNew(options.out, receipt);
      if (options.entryOut !== undefined && entry !== null) writeNew(options.entryOut, entry);
      show(options, { index: Number(index), receipt, ...(entry === null ? {} : { entry }) }, () =>
        options.out === undefined
          ? receipt.trimEnd()
          : `Written to ${options.out}. Check it: remit verify --receipt ${options.out} --entry ${options.entryOut ?? 'FILE'} --vkey KEY${options.entryOut === undefined ? ' (the entry: --entry-out)' : ''}`,
      );
    });

  remote(
    audit,
    'export <directory>',
    'Write the log as files that `remit verify` checks',
    'remit audit export ./evidence',
  ).action(async (directory: string, options: RemoteOptions) => {
    const api = apiOf(options);
    const { body: checkpoint } = await api.get<Checkpoint>('/audit/checkpoint');
    progress(options, `Exporting ${checkpoint.size} entries of ${oneLine(checkpoint.log)} …`);
    const ledger = remoteLedger(api, checkpoint, (done) => progress(options, `${done} of ${checkpoint.size} entries`));
    try {
      const vkeys = [parseVkey(checkpoint.verifierKey)];
      const result = await exportLog({ ledger, log: checkpoint.log, dir: directory, vkeys });
      show(options, { directory, ...result, verifierKey: checkpoint.verifierKey }, () =>
        [
          `${result.size} entries are in ${directory} (${result.before} were there before).`,
          `Check them: remit verify ${directory} --vkey KEY`,
          'Take the key from somebody you trust, not from the directory.',
        ].join('\n'),
      );
    } catch (fault) {
      if (isFault(fault, 'log_forked') || isFault(fault, 'log_rolled_back'))
        throw new CliFailure(
          'failed',
          `${directory} holds another log, or a longer one: ${fault.message}.`,
          'Keep it: it is evidence. Export into an empty directory and compare.',
        );
      throw fault;
    }
  });

  local(
    audit,
    'verify <directory>',
    'Check exported files offline; same as `remit verify`',
    'remit audit verify ./evidence --vkey ./acme.vkey',
  )
    .requiredOption('--vkey <key...>', 'verifier key, or a file with one per line')
    .option('--checkpoint <file...>', 'checkpoints you kept earlier', [])
    .action(async (directory: string, options: LocalOptions & { vkey: string[]; checkpoint: string[] }) => {
      process.exitCode = await runVerify([
        directory,
        ...options.vkey.flatMap((key) => ['--vkey', key]),
        ...options.checkpoint.flatMap((file) => ['--checkpoint', file]),
        ...(options.json ? ['--json'] : []),
      ]);
    });

  remote(audit, 'status', 'Show how the log stands', 'remit audit status').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Record<string, unknown>>('/audit/status');
    show(options, body, (status) =>
      fields(
        Object.entries(status).map(
          ([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const,
        ),
      ),
    );
  });
}

/** Times of the log as every other table shows them. */
const moment = (text: string): string => text.replace('T', ' ').replace('Z', '');

/** A part of a story: what is not there is left out, what is nested is said in words and signs of its own. */
function storyText(value: unknown): string {
  if (value === null || value === undefined || (Array.isArray(value) && value.length === 0)) return '-';
  if (typeof value !== 'object') return typeof value === 'string' ? value : JSON.stringify(value);
  if (Array.isArray(value)) return value.map(storyText).join(', ');
  return Object.entries(value)
    .filter(([, member]) => member !== null && !(Array.isArray(member) && member.length === 0))
    .map(([name, member]) => `${name} ${storyText(member)}`)
    .join('; ');
}

const what = ({ kind, call, event }: Entry): string =>
  call !== undefined && kind !== 'incident'
    ? `${call.server ?? '-'}/${call.tool ?? '-'}`
    : typeof event?.['what'] === 'string'
      ? `${event['what']} ${typeof event['subject'] === 'string' ? event['subject'] : ''}`.trim()
      : '-';

/** What an incident says beside its name, whom it is about, and what has a column of its own. */
const ELSEWHERE = ['what', 'subject', 'ref', 'person', 'owner'];

const result = ({ kind, decision, outcome, event }: Entry): string => {
  if (kind === 'incident') {
    const facts = Object.entries(event ?? {}).filter(([name]) => !ELSEWHERE.includes(name));
    return storyText(Object.fromEntries(facts)) || '-';
  }
  if (outcome !== undefined) return outcome.status;
  if (decision !== undefined)
    return decision.reason === null ? decision.verdict : `${decision.verdict}: ${decision.reason}`;
  if (event?.['what'] === 'request.refused' && typeof event['reason'] === 'string')
    return `refused: ${event['reason']}`;
  return typeof event?.['revision'] === 'number' ? `revision ${event['revision']}` : '-';
};

/** Evidence is never written over. */
function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new CliFailure(
      'failed',
      code === 'EEXIST' ? `${file} exists already.` : `${file} cannot be written (${code ?? 'unknown error'}).`,
      'Name another file.',
    );
  }
}
