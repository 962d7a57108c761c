/**
 * The names under which the browser keeps the cookies of a sign-in under way. The engine binds them to a path, and a cookie
 * with a path cannot be a `__Host-` one: a neighbour host could then plant a flow of its own into this browser (CONTROLS
 * AN-11). So the name carries the flow instead of the path, and the engine is shown the cookies of the flow in the request only.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** What the engine calls them. Nothing that a browser sends under these names reaches it. */
export const FLOW_COOKIES = { interaction: 'remit_interaction', resume: 'remit_resume' } as const;

const OWN_NAME = /^(remit_interaction|remit_resume)(\.sig)?=/;
/** `/federation`: the way to an identity provider and back. */
const PATH_OF_FLOW = /^\/(?:interaction|authorize|device)\/([\w-]{16,64})(?:\/federation(?:\/[a-z0-9-]{1,40})?)?$/;
const SET_PATH = /; *path=\/(?:interaction|authorize|device)\/([\w-]{16,64})/i;
const KEPT_NAME = /^(?:__Host-)?(remit_interaction|remit_resume)-([\w-]{16,64}?)(\.sig)?$/;
/** Four cookies for each flow: ten sign-ins at once, like a client that starts with ten servers. */
const MAX_COOKIES = 40;

/** @param secure whether the issuer is https; browsers keep `__Host-` cookies of such origins only. */
export function flowCookies(secure: boolean): (request: IncomingMessage, response: ServerResponse) => void {
  const prefix = secure ? '__Host-' : '';
  return (request, response) => {
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const flow = PATH_OF_FLOW.exec(path)?.[1];
    const others: string[] = [];
    const shown = (request.headers.cookie ?? '').split(/; */).flatMap((pair) => {
      if (OWN_NAME.test(pair)) return [];
      const at = pair.indexOf('=');
      const kept = at < 0 ? null : KEPT_NAME.exec(pair.slice(0, at));
      if (kept === null) return pair === '' ? [] : [pair];
      const [name = '', kind = '', of, signature = ''] = kept;
      // Without the prefix it may come from a neighbour.
      if (secure !== name.startsWith('__Host-')) return [];
      if (of === flow) return [`${kind}${signature}=${pair.slice(at + 1)}`];
      others.push(name);
      return [];
    });
    if (shown.length > 0) request.headers.cookie = shown.join('; ');
    else delete request.headers.cookie;

    const setHeader = response.setHeader.bind(response);
    response.setHeader = (name: string, value: number | string | readonly string[]) => {
      if (name.toLowerCase() !== 'set-cookie' || typeof value === 'number') return setHeader(name, value);
      const cookies = [value].flat();
      const renamed = cookies.map((cookie) => renameForBrowser(cookie, prefix));
      const startsFlow = cookies.some((cookie) => cookie.startsWith(`${FLOW_COOKIES.interaction}=`));
      const surplus = startsFlow && others.length > MAX_COOKIES ? others.splice(0) : [];
      const attributes = `path=/; max-age=0; httponly; samesite=lax${secure ? '; secure' : ''}`;
      return setHeader(name, [...renamed, ...surplus.map((old) => `${old}=; ${attributes}`)]);
    };
  };
}

function renameForBrowser(cookie: string, prefix: string): string {
  const named = OWN_NAME.exec(cookie);
  const flow = SET_PATH.exec(cookie)?.[1];
  if (named === null || flow === undefined) return cookie;
  const [whole, kind = '', signature = ''] = named;
  return `${prefix}${kind}-${flow}${signature}=${cookie.slice(whole.length)}`.replace(SET_PATH, '; path=/');
}
