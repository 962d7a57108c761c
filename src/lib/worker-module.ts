/** `module` is a sibling of the caller, without extension: sources end in .ts, the compiled product in .js. */
export const workerModule = (module: string, callerUrl: string): URL =>
  new URL(`${module}${callerUrl.endsWith('.ts') ? '.ts' : '.js'}`, callerUrl);
