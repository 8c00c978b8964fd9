// Writes 5,000 points in batches, tries again while the server says 503, and shows how a refused line is told.
const { InfluxDB, Point } = require('@influxdata/influxdb-client')

async function main(url) {
  const influx = new InfluxDB({ url, token: 'any' })
  // close() does not wait for the batches that are under way.
  let written = 0
  let all
  const stored = new Promise((resolve) => { all = resolve })
  const writeSuccess = (lines) => { written += lines.length; if (written === 5000) all() }
  const api = influx.getWriteApi('o', 'node', 'ms', { batchSize: 500, maxRetries: 8, minRetryDelay: 100, writeSuccess, gzipThreshold: 1000 })
  for (let i = 0; i < 5000; i++) {
    api.writePoint(new Point('m').tag('host', `h ${i % 3}`).intField('i', i).floatField('f', i / 4).stringField('s', `a "${i}"`).timestamp(1767225600000 + i))
  }
  await api.close()
  await stored
  const bad = influx.getWriteApi('o', 'node', 'ms', { maxRetries: 0, writeFailed: (error) => { console.log(error.statusCode, error.json && error.json.code, error.json && error.json.message) } })
  bad.writeRecord('m i="text" 1')
  await bad.close().catch(() => {})
  console.log('done')
}

main(process.argv[2])
