/**
 * How a command fails, and with which exit code. Everything a person can cause ends here as a sentence and a remedy;
 * what is left over is a defect of ours and is shown as such.
 */
import { Fault } from '../lib/fault.ts';
import { type ConfigProblem, formatProblem } from './config.ts';

/** Documented in docs/guides/cli.md and in `remit --help`. */
export const EXIT = { ok: 0, failed: 1, usage: 2, signed_out: 3, unreachable: 4 } as const;
export type FailureKind = Exclude<keyof typeof EXIT, 'ok'>;

export class CliFailure extends Fault<FailureKind> {
  readonly remedy: string | undefined;
  /** What the API answered, for `--json`. */
  readonly details: object | undefined;

  constructor(kind: FailureKind, message: string, remedy?: string, details?: object) {
    super(kind, message);
    this.remedy = remedy;
    this.details = details;
  }
}

/** Every problem of a configuration at once, each with its place, key, reason and remedy. */
export function configFailure(problems: readonly ConfigProblem[]): CliFailure {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const lines = problems.map((problem) => `  ${formatProblem(problem)}`);
  return new CliFailure('usage', `The configuration has ${count}:\n${lines.join('\n')}`, undefined, { problems });
}
