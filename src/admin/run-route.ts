/**
 * From a token to an admitted person, and from there to an answer: the one way in which a row of `routes.ts` is run, by the API for a
 * bearer token and by the pages for the token of a browser session. There is no second way to decide anything.
 * Knows no HTTP: whoever serves reads the request and writes the answer.
 */
import type { z } from 'zod';
import { err, ok, type Result } from '../lib/result.ts';
import { authenticate, permit, stillMay } from './authenticate.ts';
import type { AdminContext } from './context.ts';
import type { Problem } from './problem.ts';
import type { Refused } from './refusals.ts';
import type { AdminCaller, Answer, Route, Seen } from './route.ts';

const API_PATH = '/api/v1';

export interface Input {
  readonly params: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  readonly seen: Seen;
}

/** Token, standing, alarm, scope, role, sign-in. A refusal of somebody we know is in the log when this resolves. */
export async function admit(
  ctx: AdminContext,
  request: { readonly rawHeaders: readonly string[]; readonly url: string },
  audience: string,
  row: Omit<Route, 'handler' | 'summary'> & Refused,
  ref: string,
): Promise<Result<AdminCaller, Problem>> {
  const who = await authenticate(ctx, request, audience, row);
  if (!who.ok) return who;
  const noted = await ctx.breakGlass.note(who.value, ref, `${row.method} ${row.path}`);
  if (!noted.ok) return noted;
  const may = permit(ctx, who.value, row);
  if (may.ok) return who;
  await ctx.refusals.note(ref, who.value, row, may.error);
  return may;
}

/**
 * `read` gets the input once it is certain that the person still may: the body came when the sender wanted it to.
 * A change that is refused, for whatever reason, is in the log when this resolves (refusals.ts says how many of them).
 */
export async function perform(
  ctx: AdminContext,
  before: AdminCaller,
  route: Route,
  ref: string,
  read: () => Result<Input, Problem>,
): Promise<Result<Answer, Problem>> {
  const still = stillMay(ctx, before, route);
  if (!still.ok) {
    await ctx.refusals.note(ref, before, route, still.error);
    return still;
  }
  const input = read();
  if (!input.ok) {
    await ctx.refusals.note(ref, still.value, route, input.error);
    return input;
  }
  const answer = await route.handler.run({ ctx, who: still.value, ref, ...input.value });
  if (!answer.ok) await ctx.refusals.note(ref, still.value, { ...route, params: input.value.params }, answer.error);
  return answer;
}

export function readQuery(route: Route, sent: unknown): Result<unknown, Problem> {
  const query = route.handler.query.safeParse(sent);
  return query.success ? ok(query.data) : err(inputProblem('query', query.error.issues));
}

export function readBody(route: Route, sent: unknown): Result<unknown, Problem> {
  if (route.handler.body === null) {
    return sent === undefined
      ? ok(undefined)
      : err({
          status: 400,
          code: 'unexpected_body',
          message: 'This route takes no body.',
          remedy: 'Send the request without one.',
        });
  }
  if (sent === undefined)
    return err({
      status: 400,
      code: 'body_missing',
      message: 'This route needs a JSON body.',
      remedy: `See ${API_PATH}/openapi.json.`,
    });
  const body = route.handler.body.safeParse(sent);
  return body.success ? ok(body.data) : err(inputProblem('', body.error.issues));
}

/** The first problem names the field; the message lists all of them. zod quotes what is expected, never what was sent. */
function inputProblem(root: string, issues: readonly z.core.$ZodIssue[]): Problem {
  const place = (issue: z.core.$ZodIssue): string =>
    [root, ...issue.path.map(String)].filter((part) => part !== '').join('.');
  const lines = issues.slice(0, 20).map((issue) => `${place(issue) || 'body'}: ${issue.message}`);
  const first = issues[0] === undefined ? '' : place(issues[0]);
  return {
    status: root === 'query' ? 400 : 422,
    code: 'invalid',
    message: lines.join('; '),
    field: first === '' ? 'body' : first,
    remedy: `The expected shape is in ${API_PATH}/openapi.json.`,
  };
}
