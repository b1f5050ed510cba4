// Xen Orchestra's library, unmodified, on a walk through the networking classes: node walk.mjs LIBRARY URL TRANSPORT.
// Prints what it saw as one line of JSON; what the library warns of goes to standard error.
const [library, url, transport] = process.argv.slice(2)
const { createClient } = await import(library)

const xapi = createClient({ url, transport, allowUnauthorized: true, debounce: 10 })
const seen = { calls: {} }
const call = xapi._call
xapi._call = function (method, args, ...more) {
  seen.calls[method] = (seen.calls[method] ?? 0) + 1
  return call.call(this, method, args, ...more)
}
const refusal = promise => promise.then(() => null, ({ code, params }) => [code, ...(params ?? [])])

await xapi.connect()
await xapi.objectsFetched

const network = xapi.getObjectByRef(
  await xapi.call('network.create', { name_label: 'npm', name_description: '', MTU: 1500, other_config: { automatic: 'false' } }).then(async ref => {
    await xapi.barrier(ref)
    return ref
  })
)
seen.network = { ...network }
await network.update_other_config('note', 'one')
await network.update_other_config('note', 'two')
await network.set_MTU(1400)
await xapi.barrier(network.$ref)
seen.changed = { ...xapi.getObjectByRef(network.$ref) }

const objects = Object.values(xapi.objects.all)
const pif = objects.find(_ => _.$type === 'PIF' && !_.management)
seen.links = {
  network: pif.$network?.$type,
  host: pif.$host?.$type,
  metrics: pif.$metrics?.$type,
  networks_pifs: pif.$network?.$PIFs.map(_ => _.uuid === pif.uuid),
  bond_slave_of: pif.$bond_slave_of ?? 'nothing',
  pool: pif.$pool?.$type,
}

const vm = await xapi.call('VM.create', {
  name_label: 'npm', is_a_template: false, affinity: 'OpaqueRef:NULL', HVM_boot_policy: '', HVM_boot_params: {}, platform: {},
  memory_static_max: 1, memory_dynamic_max: 1, memory_dynamic_min: 1, memory_static_min: 1, VCPUs_max: 1, VCPUs_at_startup: 1,
  actions_after_shutdown: 'destroy', actions_after_reboot: 'restart', actions_after_crash: 'restart', recommendations: '', other_config: {},
})
seen.devices = await xapi.call('VM.get_allowed_VIF_devices', vm)
await xapi.callAsync('VM.start', vm, false, false)
const vif = await xapi.callAsync('VIF.create', {
  device: seen.devices[0], MAC: '', MTU: 1400, network: network.$ref, VM: vm, other_config: {}, qos_algorithm_type: '', qos_algorithm_params: {},
})
await xapi.callAsync('VIF.plug', vif)
await xapi.barrier(vif)
seen.vif = { ...xapi.getObjectByRef(vif) }
seen.again = await refusal(xapi.callAsync('VIF.plug', vif))
seen.sameErrorCalledPlainly = await refusal(xapi.call('VIF.plug', vif))
seen.unknown = await refusal(xapi.call('VIF.fly', vif))
await xapi.callAsync('VIF.unplug_force', vif)
await xapi.callAsync('VIF.destroy', vif)
await xapi.callAsync('VM.hard_shutdown', vm)
await xapi.callAsync('VM.destroy', vm)

await xapi.callAsync('PIF.unplug', pif.$ref)
await xapi.callAsync('PIF.plug', pif.$ref)
await xapi.callAsync('network.destroy', network.$ref)
await xapi.barrier()
seen.gone = xapi.getObjectByRef(network.$ref, undefined) === undefined

seen.types = {}
for (const object of Object.values(xapi.objects.all)) {
  seen.types[object.$type] = (seen.types[object.$type] ?? 0) + 1
}
seen.uuids = Object.values(xapi.objects.all).every(_ => typeof _.uuid === 'string' && _.uuid.length === 36)
seen.watching = xapi.watchEventsError === undefined
seen.transport = new URL(url).protocol
await xapi.disconnect()
console.log(JSON.stringify(seen))
process.exit(0)
