/** Hands for tests in which an agent does what it reads: real node, sinks as servers, what reviewers said of each item. */
import { PIPELINE } from '../../../src/gateway/pipeline.ts';
import { ToolRecord } from '../../../src/integrity/records.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { ORG, startRig } from '../../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../../support/rig.ts';

/** What reviewers said, by `server/key`: `untrustedOutput`, `outward`, `productionData`. */
export type Said = Readonly<Record<string, JsonObject>>;

export async function stage(options: RigOptions, said: Said = {}): Promise<Rig> {
  const rig = await startRig({ freshnessLimitMs: 86_400_000, ...options });
  if (Object.keys(said).length === 0) return rig;
  await rig.commit(
    Object.entries(said).map(([id, more]) => {
      const record = ToolRecord.parse(rig.view.get('tool', ORG, id)!.body);
      return {
        kind: 'tool',
        org: ORG,
        id,
        body: ToolRecord.parse({ ...record, approved: { ...record.approved, ...more } }),
      };
    }),
  );
  return rig;
}

export type Use = (server: string, tool: string, args?: JsonObject, more?: CallOptions) => Promise<Answer>;

/** One person's agent; every call has a token of its own, as it may. */
export function agentOf(rig: Rig, client: string, how: CallOptions = {}): Use {
  const { as = 'omar' } = how;
  return (server, tool, args = { text: 'x' }, more = {}) =>
    rig.call(server, tool, args, { ...how, as, client, token: rig.token(as, { client, server }), ...more });
}

export const textOf = ({ result }: Answer): string =>
  ((result?.['content'] as ReadonlyArray<{ text?: string }> | undefined) ?? []).map(({ text = '' }) => text).join('\n');
/** Of a stream: its last event. */
export const lastOf = ({ text }: Answer): string => text.split('data: ').at(-1) ?? '';
export const heldId = (answer: Answer): string | undefined =>
  /approval \((apr_[0-9a-z]+), until /.exec(answer.text)?.[1];
export const passed = ({ result }: Answer): boolean => result !== undefined && result['isError'] !== true;

/** Arguments of the calls that a server got. */
export const got = (rig: Rig, server: string): readonly string[] =>
  rig
    .sink(server)
    .calls()
    .map(({ message }) => JSON.stringify((message?.['params'] as JsonObject | undefined)?.['arguments']));
export const says = (text: string) => () => ({ content: [{ type: 'text', text }] });

/** Calls in the W3C trace with this id, 32 hexadecimal digits. */
export const traceparent = (id: string): CallOptions => ({
  meta: { traceparent: `00-${id}-${'cd'.repeat(8)}-01` },
});

/** The product's table, but what a trace received is asked as if calls named no W3C trace: for twins. */
export const READS_NO_TRACE = PIPELINE.map((row) => {
  if (row.guard.name !== 'trace-is-known') return row;
  const { gather } = row.guard;
  const blind: typeof gather = (call, ports) => {
    const { message } = call;
    return gather({ ...call, message: { ...message, meta: { ...message.meta, trace: null } } }, ports);
  };
  return { ...row, guard: { ...row.guard, gather: blind } };
});
