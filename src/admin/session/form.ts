/**
 * A form that a person sends from one of our pages. Promises: it comes from a page of this origin, names no field twice, and carries the
 * token of this session for this purpose. The session cookie alone sends nothing (CSRF).
 */
import { err, ok, type Result } from '../../lib/result.ts';
import type { Problem } from '../problem.ts';
import type { Session } from './sessions.ts';

export const FORM_TYPE = 'application/x-www-form-urlencoded';
export const MAX_FORM_BYTES = 32_768;

export type Form = ReadonlyMap<string, string>;

const refused = (code: string, message: string): Problem => ({
  status: 403,
  code,
  message,
  remedy: 'Go back to the page, load it again, and decide anew. Nothing was changed.',
});

/** Before the body is read. `Origin` is on every form that a browser posts; who leaves it out is no browser of ours. */
export function fromOurPage(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  origin: string,
): Result<true, Problem> {
  const site = headers['sec-fetch-site'];
  return headers['origin'] === origin && (site === undefined || site === 'same-origin')
    ? ok(true)
    : err(refused('form_from_elsewhere', 'This form was not sent from a page of this server.'));
}

/** Undefined when a field stands in it twice. */
export function parseForm(text: string): Form | undefined {
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(text)) {
    if (form.has(name)) return undefined;
    form.set(name, value);
  }
  return form;
}

/** `purpose` names what the form does, and to what. */
export function checkForm(form: unknown, session: Session, purpose: string): Result<Form, Problem> {
  if (!(form instanceof Map)) return err(refused('form_unreadable', 'This is not a form of this server.'));
  return session.isFormToken((form as Form).get('form_token') ?? '', purpose)
    ? ok(form as Form)
    : err(refused('form_out_of_date', 'This form is out of date: you signed in again, or somebody else did.'));
}
