/**
 * The pages for people on the admin listener, as one table: address, the row of the API that says who may, what is shown or done. Each request
 * goes the way of an API request, with the token of the session in place of the bearer token; a form runs the API's own row.
 * Nobody who is not signed in learns whether anything is there.
 */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import { newId } from '../../lib/ids.ts';
import { ok, type Result } from '../../lib/result.ts';
import type { AdminContext } from '../context.ts';
import type { Problem } from '../problem.ts';
import type { AdminCaller, Route, Seen } from '../route.ts';
import { API_PATH, ROUTES } from '../routes.ts';
import { perform, readBody, readQuery } from '../run-route.ts';
import { browserSide, needOf, SIGN_OUT, type BrowserSide } from '../session/browser.ts';
import type { BrowserSignIn } from '../session/code-flow.ts';
import { checkForm, FORM_TYPE, fromOurPage, MAX_FORM_BYTES, parseForm, type Form } from '../session/form.ts';
import { returnPath } from '../session/return-path.ts';
import type { Visit } from '../session/visits.ts';
import { approvalBody, inboxBody, type Body } from './approvals-pages.ts';
import { page, PAGE_HEADERS, type Visitor } from './frame.ts';
import { grantBody, grantsBody, type Read } from './grants-pages.ts';
import { problemPage, signedOutPage } from './problem-page.ts';
import { requestBody, requestsBody } from './requests-pages.ts';

interface View {
  readonly path: string;
  /** The row of the API that shows the same. */
  readonly row: Route;
  /** Null: nothing that this person may know of. `read` asks other rows of the API, as this person. */
  show(
    ctx: AdminContext,
    who: AdminCaller,
    id: string,
    formToken: string,
    read: Read,
  ): Body | null | Promise<Result<Body, Problem>>;
}

interface Action {
  readonly path: string;
  /** What runs. */
  readonly row: Route;
  /** The page that had the form, and comes next. */
  readonly page: string;
  /** What the row calls the id. */
  readonly param: 'approval' | 'grant';
  body(form: Form): unknown;
  /** Which state of the record the page showed. */
  seen?(form: Form): Seen;
}

const rowOf = (method: Route['method'], path: string): Route => {
  const row = ROUTES.find((one) => one.method === method && one.path === `${API_PATH}${path}`);
  if (row === undefined) throw new Error(`no row ${method} ${path}`);
  return row;
};

const noteOf = (form: Form): string | null => (form.get('note') ?? '').replaceAll('\r\n', '\n').trim() || null;
const decisionOf = (form: Form): unknown => ({ call: form.get('call'), note: noteOf(form) });

/** What is no revision is one that no record has. */
const revisionOf = (form: Form): Seen => ({
  kind: 'revision',
  revision: /^\d{1,15}$/.test(form.get('revision') ?? '') ? Number(form.get('revision')) : 0,
});

const VIEWS: readonly View[] = [
  { path: '/approvals', row: rowOf('GET', '/approvals'), show: inboxBody },
  { path: '/approvals/:id', row: rowOf('GET', '/approvals/:approval'), show: approvalBody },
  { path: '/requests', row: rowOf('GET', '/approvals'), show: requestsBody },
  { path: '/requests/:id', row: rowOf('GET', '/approvals/:approval'), show: requestBody },
  { path: '/grants', row: rowOf('GET', '/grants'), show: (ctx, _who, _id, _token, read) => grantsBody(ctx, read) },
  { path: '/grants/:id', row: rowOf('GET', '/grants/:grant'), show: grantBody },
];

const held = { param: 'approval', page: '/approvals', body: decisionOf } as const;
const granted = { param: 'grant', page: '/grants', seen: revisionOf } as const;
const ACTIONS: readonly Action[] = [
  { ...held, path: '/approvals/:id/approve', row: rowOf('POST', '/approvals/:approval/approve') },
  { ...held, path: '/approvals/:id/deny', row: rowOf('POST', '/approvals/:approval/deny') },
  {
    ...held,
    path: '/requests/:id/withdraw',
    row: rowOf('POST', '/approvals/:approval/cancel'),
    page: '/requests',
    body: () => ({ note: null }),
  },
  {
    ...granted,
    path: '/grants/:id/approve',
    row: rowOf('POST', '/grants/:grant/approve'),
    // An empty one is no digest, and refused.
    body: (form) => ({ note: noteOf(form), effect: form.get('effect') ?? '' }),
  },
  {
    ...granted,
    path: '/grants/:id/deny',
    row: rowOf('POST', '/grants/:grant/deny'),
    body: (form) => ({ note: noteOf(form) }),
  },
  {
    param: 'grant',
    page: '/grants',
    path: '/grants/:id/cancel',
    row: rowOf('POST', '/grants/:grant/cancel'),
    body: () => ({ reason: 'taken back by who asked' }),
  },
];

/** The same for what is not there and for what is somebody else's. */
const NOT_FOUND: Problem = {
  status: 404,
  code: 'not_found',
  message: 'There is nothing here, or nothing that you may see.',
  remedy: 'Check the address, and who you are signed in as.',
};

export function pagesPlugin(ctx: AdminContext, setup: BrowserSignIn, origin: () => string): FastifyPluginCallback {
  const admitted = new WeakMap<FastifyRequest, { readonly visit: Visit; readonly ref: string }>();

  const visitorOf = ({ who, session }: Visit): Visitor => ({
    name: who.name,
    person: who.person,
    signOutToken: session.formToken(SIGN_OUT),
  });
  const send = (reply: FastifyReply, status: number, html: string): FastifyReply =>
    reply.code(status).headers(PAGE_HEADERS).send(html);

  function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem, ref: string): FastifyReply {
    const visit = admitted.get(request)?.visit ?? null;
    const path = (request.raw.url ?? '').split('?', 1)[0] ?? '';
    // Of a form, the page that had it: an address that acts is never returned to.
    const returnTo = returnPath(request.method === 'GET' ? path : path.replace(/\/[a-z]+$/, ''));
    const helps = problem.status === 401 || problem.code.startsWith('sign_in_') || problem.code === 'no_standing';
    const signIn = helps ? { need: needOf(ctx, problem), returnTo } : null;
    return send(reply, problem.status, problemPage({ problem, ref, visitor: visit && visitorOf(visit), signIn }));
  }

  const side: BrowserSide = browserSide(ctx, setup, origin, {
    problem: sendProblem,
    signedOut: (reply) => send(reply, 200, signedOutPage()),
    home: (who) => (who.roles.has('approver') ? '/approvals' : '/requests'),
  });

  /** Before a body is read. */
  async function enter(request: FastifyRequest, reply: FastifyReply, path: string, row: Route): Promise<unknown> {
    const ref = newId('ref', ctx.clock);
    if (row.method !== 'GET') {
      const ours = fromOurPage(request.headers, origin());
      if (!ours.ok) return sendProblem(request, reply, ours.error, ref);
    }
    const visit = await side.visit(request, { ...row, path }, ref);
    if (!visit.ok) return sendProblem(request, reply, visit.error, ref);
    admitted.set(request, { visit: visit.value, ref });
    return undefined;
  }

  const reader =
    ({ who }: Visit, ref: string): Read =>
    async (path, params = {}, query = {}) => {
      const row = rowOf('GET', path);
      const read = readQuery(row, query);
      if (!read.ok) return read;
      const input = { params, query: read.value, body: undefined, seen: { kind: 'unsaid' } as const };
      const answer = await perform(ctx, who, row, ref, () => ok(input));
      return answer.ok ? ok(answer.value.body) : answer;
    };

  const idOf = (request: FastifyRequest): string => (request.params as Record<string, string>)['id'] ?? '';

  function addView(instance: FastifyInstance, { path, row, show }: View): void {
    instance.get(path, {
      onRequest: (request, reply) => enter(request, reply, path, row),
      handler: async (request, reply) => {
        const { visit, ref } = admitted.get(request)!;
        const id = idOf(request);
        const made = await show(ctx, visit.who, id, visit.session.formToken(id), reader(visit, ref));
        const body = made === null || 'body' in made ? made : made.ok ? made.value : made.error;
        if (body === null) return sendProblem(request, reply, NOT_FOUND, ref);
        if ('status' in body) return sendProblem(request, reply, body.status === 404 ? NOT_FOUND : body, ref);
        return send(reply, 200, page(body.title, visitorOf(visit), body.body));
      },
    });
  }

  function addAction(instance: FastifyInstance, { path, row, page: back, param, body, seen }: Action): void {
    instance.post(path, {
      onRequest: (request, reply) => enter(request, reply, path, row),
      handler: async (request, reply) => {
        const { visit, ref } = admitted.get(request)!;
        const id = idOf(request);
        const form = checkForm(request.body, visit.session, id);
        if (!form.ok) return sendProblem(request, reply, form.error, ref);
        const done = await perform(ctx, visit.who, row, ref, () => {
          const parsed = readBody(row, body(form.value));
          return parsed.ok
            ? ok({
                params: { [param]: id },
                query: {},
                body: parsed.value,
                seen: seen?.(form.value) ?? { kind: 'unsaid' },
              })
            : parsed;
        });
        if (!done.ok) return sendProblem(request, reply, done.error.status === 404 ? NOT_FOUND : done.error, ref);
        return reply.headers(PAGE_HEADERS).redirect(`${back}/${id}`, 303);
      },
    });
  }

  return (instance, _options, done) => {
    instance.removeAllContentTypeParsers();
    instance.addContentTypeParser(
      FORM_TYPE,
      { parseAs: 'string', bodyLimit: MAX_FORM_BYTES },
      (_request, text, parsed) => parsed(null, parseForm(text as string)),
    );
    instance.setErrorHandler((error, request, reply) => {
      const { statusCode } = error as { statusCode?: number };
      const ref = newId('ref', ctx.clock);
      const unread = statusCode === 413 || statusCode === 415 || statusCode === 400;
      if (!unread) ctx.log.error({ ref, err: error, route: request.routeOptions.url }, 'a page failed');
      const problem: Problem = unread
        ? { status: statusCode, code: 'form_unreadable', message: 'This is not a form of this server.' }
        : { status: 500, code: 'internal', message: 'The page failed inside Remit.', remedy: 'Quote the reference.' };
      return sendProblem(request, reply, problem, ref);
    });
    side.routes(instance);
    for (const view of VIEWS) addView(instance, view);
    for (const action of ACTIONS) addAction(instance, action);
    done();
  };
}
