/**
 * One HTTP request and what came back, pushed straight from undici's dispatcher: no stream objects, one promise.
 * A body is gathered within a bound, or handed piece by piece, at the server's pace, to whoever claims it when the headers are known.
 * Judges nothing. Rejects with whatever broke the exchange; after that nothing more is delivered.
 */
import type { Dispatcher } from 'undici';
import { UpstreamFault } from './connection.ts';
import { type Pace, type Turns, inTurns } from './pace.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Null: the body was claimed. */
  readonly body: Uint8Array | null;
}

/** Takes a piece; true: enough, the rest is not wanted and the connection may go. */
export type TakePiece = (piece: Buffer) => boolean;

export interface RoundTrip {
  readonly answer: Promise<Answer>;
  /** Ends it now; `answer` rejects with `reason` unless it is settled. Idempotent. */
  abort(reason: Error): void;
}

/** `claim` may throw to refuse the answer, or return null to have the body gathered, at most `maxBytes`. */
export function roundTrip(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  maxBytes: number,
  pace: Pace,
  claim: (status: number, headers: Answer['headers']) => TakePiece | null,
): RoundTrip {
  let controller: Dispatcher.DispatchController | null = null;
  let aborted: Error | null = null;
  let settled = false;
  let resolve: (answer: Answer) => void;
  let reject: (reason: Error) => void;
  const answer = new Promise<Answer>((yes, no) => ([resolve, reject] = [yes, no]));

  let status = 0;
  let headers: Answer['headers'] = {};
  let turns: Turns | null = null;
  const chunks: Buffer[] = [];
  let size = 0;

  const abort = (reason: Error): void => {
    aborted ??= reason;
    if (!settled) reject(aborted);
    settled = true;
    controller?.abort(aborted);
  };
  const finish = (): void => {
    if (settled) return;
    settled = true;
    const body = turns !== null ? null : chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size);
    resolve({ status, headers, body });
  };
  /** Whatever a callback throws is the end of this exchange, never of the dispatcher. */
  const guarded = (work: () => void): void => {
    try {
      if (!settled) work();
    } catch (error) {
      abort(error as Error);
    }
  };

  const claimed = (take: TakePiece, flow: Dispatcher.DispatchController): Turns =>
    inTurns(pace, flow, (piece) =>
      guarded(() => {
        if (!take(piece)) return;
        finish();
        flow.abort(new Error('the rest is not wanted'));
      }),
    );
  /** What came before the end counts before it. */
  const last = (then: () => void): void => (turns === null ? then() : turns.end(then));

  try {
    dispatcher.dispatch(request, {
      onRequestStart(started) {
        controller = started;
        if (aborted !== null) started.abort(aborted);
      },
      onResponseStart(response, code, received) {
        if (code < 200) return;
        status = code;
        headers = received;
        guarded(() => {
          const take = claim(code, received);
          if (take !== null) turns = claimed(take, response);
        });
      },
      onResponseData(_controller, chunk) {
        if (turns !== null) return turns.push(chunk);
        guarded(() => {
          size += chunk.length;
          if (size > maxBytes) {
            throw new UpstreamFault('upstream_too_large', `the answer exceeds ${maxBytes} bytes`, {
              dispatched: 'unknown',
            });
          }
          chunks.push(chunk);
        });
      },
      onResponseEnd: () => last(finish),
      onResponseError: (_controller, error) =>
        last(() => {
          if (!settled) reject(error);
          settled = true;
        }),
    });
  } catch (error) {
    abort(error as Error);
  }
  return { answer, abort };
}
