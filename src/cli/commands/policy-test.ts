/** `remit policy test`: cases that people can read, against files or against a running gateway. */
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { systemClock } from '../../lib/clock.ts';
import { BASELINE } from '../../policy/baseline.ts';
import type { CompiledPolicy, PolicySource } from '../../policy/compile.ts';
import { compileGrant } from '../../policy/grant-policies.ts';
import { Grant } from '../../policy/grants.ts';
import { TestSuite, runCases, suiteSet } from '../../policy/policy-test.ts';
import type { CaseResult } from '../../policy/policy-test.ts';
import { apiOf, readNamedFile, readObjectFile, remote, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { green, red, show, table, visible } from '../output.ts';

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly results: readonly CaseResult[];
}

export function policyTestCommand(policy: Command): void {
  remote(
    policy,
    'test <cases...>',
    'Run cases against policy files, or with --gateway against what is in force there',
    'remit policy test policy-cases.yaml',
  )
    .option('--gateway', 'ask the gateway: its policies, items and people', false)
    .option('--draft <policy>', 'with --gateway: as if this draft were in force')
    .action(async (files: string[], options: RemoteOptions & { gateway: boolean; draft?: string }) => {
      if (options.draft !== undefined && !options.gateway)
        throw new CliFailure('usage', '--draft is a policy of a gateway.', 'Say --gateway, too.');
      const outcomes: Outcome[] = [];
      for (const file of files) {
        const suite = readSuite(file);
        outcomes.push(options.gateway ? await asked(suite, options) : offline(file, suite));
      }
      const results = outcomes.flatMap((outcome) => outcome.results);
      const failed = results.filter(({ passed }) => !passed);
      show(options, { passed: results.length - failed.length, failed: failed.length, results }, () => text(results));
      if (failed.length > 0) process.exitCode = 1;
    });
}

function readSuite(file: string): TestSuite {
  const parsed = TestSuite.safeParse(readObjectFile(file));
  if (parsed.success) return parsed.data;
  throw new CliFailure(
    'usage',
    `${visible(file)} is no file of cases:\n${problems(parsed.error)}`,
    'docs/guides/policy.md shows one.',
  );
}

const problems = (error: z.ZodError): string =>
  error.issues
    .map(({ path, message }) => `  ${visible(path.map(String).join('.') || 'file')}: ${visible(message)}`)
    .join('\n');

async function asked(suite: TestSuite, options: RemoteOptions & { draft?: string }): Promise<Outcome> {
  // Whom the file describes is sent along; whom it does not is looked up there.
  const cases = suite.cases.map((one) => {
    const known = typeof one.who === 'string' ? suite.people[one.who] : undefined;
    return known ? { ...one, who: known } : one;
  });
  const candidate = options.draft === undefined ? {} : { candidate: { policy: options.draft } };
  return (await apiOf(options).post<Outcome>('/policies/test', { cases, tools: suite.tools, ...candidate })).body;
}

/** Paths in the file are relative to it. */
function offline(file: string, suite: TestSuite): Outcome {
  const beside = (path: string): string => (file === '-' ? path : join(dirname(file), path));
  const policies: PolicySource[] = [
    ...(suite.baseline ? BASELINE : []),
    ...Object.entries(suite.policies).map(([id, path]) => ({ id, text: readNamedFile(beside(path)) })),
  ];
  const grants = Object.entries(suite.grants).map(([id, path]) => grantIn(id, beside(path)));
  const set = suiteSet(suite, policies, grants);
  if (!set.ok) {
    const lines = set.error.map(({ policy, message }) => `  ${visible(policy)}: ${visible(message)}`);
    throw new CliFailure(
      'usage',
      `The policies do not compile:\n${lines.join('\n')}`,
      'Correct all of them and run it again.',
    );
  }
  const results = runCases(set.value, suite.cases, (name) => suite.people[name] ?? null, systemClock.now());
  const failed = results.filter(({ passed }) => !passed).length;
  return { passed: results.length - failed, failed, results };
}

/** As `remit grant add` takes it, and in force. */
function grantIn(id: string, file: string): CompiledPolicy {
  const now = systemClock.now();
  const decided = {
    state: 'active',
    requestedBy: 'test',
    requestedAt: now,
    decidedBy: 'test',
    decidedAt: now,
    note: null,
  };
  const parsed = Grant.safeParse({
    conditions: [],
    approval: 'by_risk',
    expiresAt: null,
    ...readObjectFile(file),
    ...decided,
  });
  if (!parsed.success) throw new CliFailure('usage', `${visible(file)} is no grant:\n${problems(parsed.error)}`);
  const compiled = compileGrant(id, parsed.data);
  if (compiled.ok) return compiled.value;
  throw new CliFailure('usage', `${visible(file)} permits nothing: it ${visible(compiled.error)}.`);
}

function text(results: readonly CaseResult[]): string {
  const rows = table(
    ['', 'CASE', 'EXPECTED', 'GOT', 'BY'],
    results.map(({ passed, name, expected, got, policies }) => [
      passed ? 'ok' : 'FAILED',
      name,
      expected,
      got,
      policies.map(({ id }) => id).join(', '),
    ]),
    'No cases.',
  );
  const failed = results.filter(({ passed }) => !passed);
  const why = failed.flatMap((one) => [
    '',
    `${red('FAILED')} ${visible(one.name)}`,
    `  ${visible(one.problem ?? '')}${one.reason === null ? '' : ` (${one.reason})`}`,
    ...one.policies.map(
      ({ id, effect, description }) =>
        `  ${effect} ${visible(id)}${description === '' ? '' : `: ${visible(description)}`}`,
    ),
    ...one.nearest.map(({ change, value, verdict }) =>
      `  would be ${verdict} with ${change} ${visible(value)}`.trimEnd(),
    ),
  ]);
  const sum = `${results.length - failed.length} of ${results.length} cases hold.`;
  return [rows, ...why, '', failed.length === 0 ? green(sum) : red(sum)].join('\n');
}
