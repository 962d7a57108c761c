/**
 * A form that a person sends to this server. Promises: it came from a page of this origin, is small, names no field twice,
 * and carries a token that binds it to what it is for. Does not know what it means.
 */
import { createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { errors } from 'oidc-provider';
import { sameText } from '../lib/bytes.ts';
import { readBody } from './body.ts';

const MAX_FORM_BYTES = 8 * 1_024;

export interface FormContext {
  readonly req: IncomingMessage;
  get(header: string): string;
  is(type: string): string | false | null;
}

/** With a key the browser does not have. `purpose` names the page and the session or flow. */
export const formToken = (keys: readonly string[], purpose: string): string => tokenOf(keys[0] ?? '', purpose);

const tokenOf = (key: string, purpose: string): string =>
  createHmac('sha256', key).update(`form ${purpose}`).digest('base64url');

/** @throws invalid_request: 403 from elsewhere or out of date, 413, 415 */
export async function readForm(
  ctx: FormContext,
  issuer: string,
  keys: readonly string[],
  purpose: string,
): Promise<ReadonlyMap<string, string>> {
  // A form on another site, or another port of this machine, must not act for the person (cookies do not tell ports apart).
  const origin = ctx.get('origin');
  const site = ctx.get('sec-fetch-site');
  if (origin !== issuer || (site !== '' && site !== 'same-origin'))
    throw new errors.InvalidRequest('the form was not sent from this server', 403);
  if (!ctx.is('application/x-www-form-urlencoded')) throw new errors.InvalidRequest('send a form', 415);
  const body = await readBody(ctx.req, MAX_FORM_BYTES);
  if (body === null) throw new errors.InvalidRequest('the form is too large', 413);
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (form.has(name)) throw new errors.InvalidRequest('a form field was sent twice');
    form.set(name, value);
  }
  const token = form.get('form_token') ?? '';
  if (!keys.some((key) => sameText(token, tokenOf(key, purpose))))
    throw new errors.InvalidRequest('the form is out of date; go back and try again', 403);
  return form;
}
