/** What the commands about tools read from the API, and how they show it. Every text of a server is shown with its hidden characters written out. */
import { Option } from 'commander';
import { ITEM_KINDS } from '../../integrity/records.ts';
import { seg } from '../api.ts';
import { apiOf, splitTool, type RemoteOptions } from '../command.ts';
import { bold, green, oneLine, red, visible } from '../output.ts';

export interface Finding {
  readonly code: string;
  readonly severity: string;
  readonly path?: string;
  readonly excerpt?: string;
}
export interface ToolRow {
  readonly kind: string;
  readonly name: string;
  readonly key: string;
  readonly digest: string | null;
  readonly standing: string;
  readonly risk: string | null;
  readonly scope: string | null;
  readonly suggestion: { readonly risk: string; readonly why: string } | null;
  readonly findings: readonly Finding[];
  readonly seenAt: number | null;
}
/** What a judgement says besides its class and scope; whoever agrees to it agrees to all of this. */
export interface Rules {
  readonly parameters?: Readonly<Record<string, string>>;
  readonly approvals?: number;
  readonly irreversible?: true;
  readonly productionData?: boolean;
  readonly tasks?: string;
  readonly untrustedOutput?: true;
  readonly outward?: true;
  readonly budget?: {
    readonly calls: number;
    readonly perMinutes: number;
    readonly sum?: { readonly argument: string; readonly max: number };
    readonly shared?: true;
  };
  readonly idempotent?: true;
}
export interface DiffLine {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
}
export interface Tool extends Omit<ToolRow, 'risk' | 'scope' | 'seenAt' | 'digest'> {
  readonly server: string;
  readonly revision: number;
  readonly observed: {
    readonly digest: string;
    readonly definition: Record<string, unknown>;
    readonly seenAt: number;
  } | null;
  readonly approved:
    | (Rules & {
        readonly digest: string;
        readonly risk: string;
        readonly scope: string;
        readonly justification: string;
        readonly by: string;
        readonly at: number;
      })
    | null;
  readonly diff: readonly DiffLine[];
  readonly meaning: readonly MeaningLine[];
  readonly proposal:
    | (Rules & {
        readonly id: string;
        readonly risk: string;
        readonly scope: string;
        readonly by: string;
        readonly justification: string;
      })
    | null;
}
export interface Changed {
  readonly tool: string;
  readonly standing: string;
  readonly revision: number;
  readonly proposal?: string;
}
export interface History {
  readonly steps: ReadonlyArray<{
    readonly at: number;
    readonly what: string;
    readonly actor: string;
    readonly digest: string | null;
    readonly reason: string;
  }>;
  readonly good: ReadonlyArray<{ readonly digest: string; readonly risk: string; readonly scope: string }>;
}
export interface MeaningLine extends DiffLine {
  readonly what: string;
  readonly judged: string;
  readonly words?: ReadonlyArray<{ readonly kind: string; readonly text: string }>;
}

export const pathOf = (text: string): string => {
  const [server, tool] = splitTool(text);
  return `/servers/${seg(server)}/tools/${seg(tool)}`;
};

export const kindOption = (text: string): Option => new Option('--kind <kind>', text).choices(ITEM_KINDS);

export const itemsOf = (options: RemoteOptions, server: string, kind: string | undefined) =>
  apiOf(options).get<{ tools: ToolRow[] }>(
    `/servers/${seg(server)}/tools${kind === undefined ? '' : `?kind=${seg(kind)}`}`,
  );

export const findingCodes = ({ findings }: Pick<ToolRow, 'findings'>): string =>
  [...new Set(findings.map(({ code, severity }) => `${severity}:${code}`))].join(' ');

export function rulesOf({ parameters = {}, approvals, irreversible, productionData, tasks, ...flow }: Rules): string {
  const said = [
    ...Object.entries(parameters).map(([pointer, type]) => `${pointer} is a ${type}`),
    ...(approvals === undefined ? [] : [`${approvals} must agree to a held call`]),
    ...(irreversible === undefined ? [] : ['cannot be undone']),
    ...(productionData === undefined ? [] : [`${productionData ? 'touches' : 'does not touch'} production data`]),
    ...(tasks === undefined ? [] : [`as a task: ${tasks}`]),
    ...(flow.untrustedOutput ? ['what it returns may be written by strangers'] : []),
    ...(flow.outward ? ['what it is given can leave the organisation'] : []),
    ...budgetInWords(flow.budget),
    ...(flow.idempotent ? ['a lost answer is asked for once more'] : []),
  ];
  return said.join('; ') || 'none';
}

function budgetInWords(budget: Rules['budget']): readonly string[] {
  if (!budget) return [];
  const { calls, perMinutes, sum, shared } = budget;
  const most = sum === undefined ? '' : `, and at most ${sum.max} of ${sum.argument}`;
  return [
    `${calls} calls in ${perMinutes} min${most}, ${shared ? 'of everybody together' : 'of one person with one agent'}`,
  ];
}

export function describeDiff(tool: Tool): string {
  const head = bold(`${oneLine(tool.server)}/${oneLine(tool.key)}: ${tool.standing}`);
  if (tool.observed === null) return `${head}\nThe server does not offer it now.`;
  const body =
    tool.diff.length === 0
      ? ['The server says exactly what was approved.']
      : tool.meaning.flatMap(({ path, before, after, what, judged, words }) => [
          `${visible(path === '' ? '(whole definition)' : path)}  ${judged}: ${visible(what)}`,
          ...(words
            ? [
                `  ${words.map(({ kind, text }) => (kind === 'same' ? visible(text) : kind === 'gone' ? red(`[-${visible(text)}-]`) : green(`{+${visible(text)}+}`))).join('')}`,
              ]
            : [
                ...(before === null ? [] : [red(`  - ${visible(before)}`)]),
                ...(after === null ? [] : [green(`  + ${visible(path === '' ? laidOut(tool.observed) : after)}`)]),
              ]),
        ]);
  return [head, ...body, ...findingLines(tool.findings), `digest: ${tool.observed.digest}`].join('\n');
}

/** A definition that is new is read as a whole; on one line nobody does. */
const laidOut = (observed: Tool['observed']): string =>
  JSON.stringify(observed?.definition ?? null, null, 2).replaceAll('\n', '\n  + ');

export const findingLines = (findings: readonly Finding[]): string[] =>
  findings.map(({ severity, code, path, excerpt }) => {
    const line = `${severity}: ${code} at ${visible(path ?? '/')}${excerpt === undefined ? '' : `: ${oneLine(excerpt)}`}`;
    return severity === 'block' || severity === 'hold' ? red(line) : line;
  });
